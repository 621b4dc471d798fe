// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_API_PRIORITY_H_
#define RECURVE_ENGINE_API_PRIORITY_H_

#include <cstddef>
#include <cstdint>

namespace recurve {

// Of two requests that wait the one of higher priority goes first, and it may preempt one that
// runs.
enum class Priority : uint32_t { kHigh, kNormal, kLow };
inline constexpr size_t kPriorities = 3;

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_PRIORITY_H_
