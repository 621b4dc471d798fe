// SPDX-License-Identifier: Apache-2.0
// What heap_report.cc, preloaded into a server, tells of its memory.
#ifndef RECURVE_TESTS_SOAK_HEAP_REPORT_H_
#define RECURVE_TESTS_SOAK_HEAP_REPORT_H_

#include <atomic>
#include <cstdint>

namespace recurve::soak {

// Names the file that holds a HeapReport, which is there once the server listens.
inline constexpr char kHeapReportVariable[] = "RECURVE_SOAK_HEAP";

// In memory that two processes share.
struct HeapReport {
  std::atomic<uint64_t> bytes;    // that malloc has given out, as of the last report
  std::atomic<uint64_t> reports;  // so far
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_HEAP_REPORT_H_
