// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_STEADY_TIME_H_
#define RECURVE_ENGINE_BASE_STEADY_TIME_H_

#include <chrono>

namespace recurve {

using SteadyTime = std::chrono::steady_clock::time_point;

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_STEADY_TIME_H_
