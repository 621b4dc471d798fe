// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_CHECK_H_
#define RECURVE_ENGINE_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Aborts with file, line and the condition when `condition` is false. For broken invariants of our
// own only: whatever a request, flag, file or machine can cause is an absl::Status.
#define RECURVE_CHECK(condition)                                                             \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

#endif  // RECURVE_ENGINE_BASE_CHECK_H_
