// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_CHECK_H_
#define RECURVE_ENGINE_BASE_CHECK_H_

#include <atomic>
#include <cstdio>
#include <cstdlib>

// Aborts with file, line and the condition when `condition` is false. For broken invariants of our
// own only: whatever a request, flag, file or machine can cause is an absl::Status.
#define RECURVE_CHECK(condition)                                          \
  do {                                                                    \
    if (!(condition)) [[unlikely]] {                                      \
      ::recurve::AbortForBrokenInvariant(__FILE__, __LINE__, #condition); \
    }                                                                     \
  } while (false)

namespace recurve {

// Tells of a broken invariant before the process aborts, on the thread that found it, which may
// hold any lock. Without one a line on stderr does.
using BrokenInvariantHandler = void (*)(const char* file, int line, const char* condition);
inline std::atomic<BrokenInvariantHandler> broken_invariant_handler{nullptr};

[[noreturn, gnu::cold, gnu::noinline]] inline void AbortForBrokenInvariant(const char* file,
                                                                           int line,
                                                                           const char* condition) {
  if (const BrokenInvariantHandler handler = broken_invariant_handler) {
    handler(file, line, condition);
  } else {
    std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
  }
  std::abort();
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_CHECK_H_
