// SPDX-License-Identifier: Apache-2.0
#include "engine/base/machine.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace recurve {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
constexpr size_t kMostCpuSets = 1024;  // of 1,024 processors each

// The first line of a file, empty if there is none.
std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

uint64_t NumberIn(const std::string& path) {
  uint64_t value;
  return absl::SimpleAtoi(FirstLine(path), &value) ? value : kUnlimited;
}

// A control group directory and those above it, innermost first, as mounted below `mount`. Inside a
// container the path that /proc/self/cgroup names may not exist: then the mount itself is the
// group.
std::vector<std::string> GroupAndAncestors(const std::string& mount, absl::string_view group) {
  std::vector<std::string> directories;
  std::string path(absl::StripSuffix(group, "/"));
  while (true) {
    directories.push_back(absl::StrCat(mount, path));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) break;
    path.resize(slash);
  }
  return directories;
}

struct ControlGroups {
  std::vector<std::string> unified;  // v2
  std::vector<std::string> cpu;      // v1
  std::vector<std::string> memory;   // v1
};

// Parses lines "id:controllers:path" of /proc/self/cgroup.
ControlGroups FindControlGroups(const std::string& root) {
  ControlGroups groups;
  const std::string mount = absl::StrCat(root, "/sys/fs/cgroup");
  std::ifstream file(absl::StrCat(root, "/proc/self/cgroup"));
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[1].empty()) groups.unified = GroupAndAncestors(mount, parts[2]);
    for (absl::string_view controller : absl::StrSplit(parts[1], ',')) {
      if (controller == "cpu")
        groups.cpu = GroupAndAncestors(absl::StrCat(mount, "/cpu"), parts[2]);
      if (controller == "memory") {
        groups.memory = GroupAndAncestors(absl::StrCat(mount, "/memory"), parts[2]);
      }
    }
  }
  return groups;
}

// Processors that this thread may run on, 1 if the kernel does not say.
uint64_t AffinityThreads() {
  // The kernel refuses a mask without a bit for every processor that the machine may have.
  for (size_t sets = 1; sets <= kMostCpuSets; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) {
      return static_cast<uint64_t>(CPU_COUNT_S(bytes, mask.data()));
    }
  }
  return 1;
}

uint64_t QuotaThreads(uint64_t quota, uint64_t period) {
  if (quota == kUnlimited || period == kUnlimited || period == 0) return kUnlimited;
  return std::max<uint64_t>(1, (quota + period - 1) / period);
}

// What a memory limit leaves; `usage` counts page cache too, which the kernel gives back on demand.
uint64_t Left(uint64_t limit, uint64_t usage, uint64_t inactive_file) {
  if (limit == kUnlimited || usage == kUnlimited) return limit;
  const uint64_t used = usage - std::min(usage, inactive_file);
  return limit - std::min(limit, used);
}

// The field of a control group's memory.stat, 0 if missing.
uint64_t MemoryStat(const std::string& directory, absl::string_view field) {
  std::ifstream file(absl::StrCat(directory, "/memory.stat"));
  std::string name;
  uint64_t value;
  while (file >> name >> value) {
    if (name == field) return value;
  }
  return 0;
}

}  // namespace

uint32_t UsableThreads(const std::string& root) {
  uint64_t threads = AffinityThreads();
  const ControlGroups groups = FindControlGroups(root);
  for (const std::string& directory : groups.unified) {
    // "max 100000" or "150000 100000".
    const std::vector<std::string> parts =
        absl::StrSplit(FirstLine(absl::StrCat(directory, "/cpu.max")), ' ');
    uint64_t quota, period;
    if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &quota) &&
        absl::SimpleAtoi(parts[1], &period)) {
      threads = std::min(threads, QuotaThreads(quota, period));
    }
  }
  for (const std::string& directory : groups.cpu) {  // the quota is -1 without a limit
    threads =
        std::min(threads, QuotaThreads(NumberIn(absl::StrCat(directory, "/cpu.cfs_quota_us")),
                                       NumberIn(absl::StrCat(directory, "/cpu.cfs_period_us"))));
  }
  return static_cast<uint32_t>(std::max<uint64_t>(1, threads));
}

uint64_t UsableMemoryBytes(const std::string& root) {
  uint64_t bytes = kUnlimited;
  std::ifstream meminfo(absl::StrCat(root, "/proc/meminfo"));
  for (std::string line; std::getline(meminfo, line);) {
    uint64_t kilobytes;
    absl::string_view value = line;
    if (absl::ConsumePrefix(&value, "MemAvailable:") && absl::ConsumeSuffix(&value, "kB") &&
        absl::SimpleAtoi(value, &kilobytes)) {
      bytes = kilobytes * 1024;
    }
  }
  const ControlGroups groups = FindControlGroups(root);
  for (const std::string& directory : groups.unified) {
    bytes = std::min(bytes, Left(NumberIn(absl::StrCat(directory, "/memory.max")),
                                 NumberIn(absl::StrCat(directory, "/memory.current")),
                                 MemoryStat(directory, "inactive_file")));
  }
  for (const std::string& directory : groups.memory) {
    bytes = std::min(bytes, Left(NumberIn(absl::StrCat(directory, "/memory.limit_in_bytes")),
                                 NumberIn(absl::StrCat(directory, "/memory.usage_in_bytes")),
                                 MemoryStat(directory, "total_inactive_file")));
  }
  return bytes == kUnlimited ? 0 : bytes;
}

}  // namespace recurve
