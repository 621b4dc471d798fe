// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_LOAD_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_LOAD_H_

#include <cstdint>
#include <string>

#include "tests/engine/backend/cuda/planner_backend.h"
#include "tests/engine/schedule/random_load.h"

namespace recurve::cuda {

// Loads that planner_load_test.cc runs, seeds 1 and up, unless told otherwise.
inline constexpr uint64_t kPlannerLoads = 250;

// Each returns what went wrong first, empty if nothing, and adds to the figures.

// The load of `seed` on a PlannerBackend.
std::string RunPlannerLoad(uint64_t seed, LoadFigures& load_figures,
                           PlannerFigures& planner_figures);

// The same where some rows are not finite: what its samples produce is not looked at.
std::string RunBrokenLoad(uint64_t seed, PlannerFigures& figures);

// Plans that change the caps of slots in all ways that plans may, far ahead and again and again,
// while the slots come to them position by position.
std::string RunCapChanges(uint64_t seed);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_LOAD_H_
