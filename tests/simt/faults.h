// SPDX-License-Identifier: Apache-2.0
// What kernels, and hosts that make spans, do wrong with memory: found out and put into words here,
// out of line, so that checks stay short where they are passed.
#ifndef RECURVE_TESTS_SIMT_FAULTS_H_
#define RECURVE_TESTS_SIMT_FAULTS_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/cuda/device_memory.h"
#include "tests/simt/memory_account.h"

namespace recurve::simt::simt_internal {

// What a span is without its type, for reports.
struct Extent {
  const void* data;
  size_t count;
  size_t element_bytes;
  MemoryAccount* account;
};

// Accesses by the names that reports give them.
enum class Access : uint8_t { kConstant, kIn, kOut, kSet, kCopy, kEdit, kAdd, kOr };

// Stops the running thread for an access to element `i`, whose fault it looks for.
[[noreturn]] void StopFor(Access access, size_t i, const Extent& span);

// Stops the running thread for a `call` (Part or As) that asks for elements of `bytes` bytes;
// outside of kernels, reports it.
void StopForPart(const char* call, size_t begin, size_t count, size_t bytes, const Extent& span);

// Reports a span of the elements [begin, begin + count) of `bytes` bytes that is not in `memory`.
void ReportSpan(const DeviceMemory& memory, size_t begin, size_t count, size_t bytes);

// Stops the running thread for what it does at `index` of an array of `count` elements.
[[noreturn]] void StopForArray(const char* what, size_t index, size_t count);

// Stops the running thread for asking for `bytes` bytes of shared memory in all.
[[noreturn]] void StopForShared(size_t bytes);

}  // namespace recurve::simt::simt_internal

#endif  // RECURVE_TESTS_SIMT_FAULTS_H_
