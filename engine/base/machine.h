// SPDX-License-Identifier: Apache-2.0
// What this process may use of the machine: processors and memory, with affinity and control groups
// honoured. Read from a file system root that tests replace.
#ifndef RECURVE_ENGINE_BASE_MACHINE_H_
#define RECURVE_ENGINE_BASE_MACHINE_H_

#include <cstdint>
#include <string>

namespace recurve {

// Threads that make sense for this process, at least 1: the processors of its affinity mask, at
// most the CPU quota of its control group (v2 `cpu.max`, v1 `cpu.cfs_quota_us`) and those of the
// groups above it, rounded up. `root` precedes /proc and /sys.
uint32_t UsableThreads(const std::string& root = "");

// Bytes that this process may still take: MemAvailable of /proc/meminfo, at most what the memory
// limits of its control group and of the groups above it leave. 0 if nothing can be read.
uint64_t UsableMemoryBytes(const std::string& root = "");

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_MACHINE_H_
