// SPDX-License-Identifier: Apache-2.0
// Counts what a test binary allocates: its malloc and what is like it are replaced, which operator
// new and all libraries call.
#ifndef RECURVE_TESTS_ENGINE_ALLOCATIONS_H_
#define RECURVE_TESTS_ENGINE_ALLOCATIONS_H_

#include <cstdint>

namespace recurve {

// Allocations since the process began: of this thread, and of all.
uint64_t AllocationsOfThisThread();
uint64_t AllocationsOfAllThreads();

// How many bytes those of this thread asked for.
uint64_t AllocatedBytesOfThisThread();

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_ALLOCATIONS_H_
