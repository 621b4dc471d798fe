// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_LOAD_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_LOAD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "tests/engine/backend/cuda/planner_backend.h"
#include "tests/engine/schedule/random_load.h"

namespace recurve::cuda {

// Loads that planner_load_test.cc runs, seeds 1 and up, unless told otherwise.
inline constexpr uint64_t kPlannerLoads = 250;

// Runs the load of `seed` on a PlannerBackend. Returns what went wrong first, empty if nothing.
inline std::string RunPlannerLoad(uint64_t seed, LoadFigures& load_figures,
                                  PlannerFigures& planner_figures) {
  std::string why_not;
  const auto make_backend = [&](const DrawnLoad& load) -> std::unique_ptr<Backend> {
    auto backend = PlannerBackend::Create(load, &planner_figures);
    if (backend.ok()) return *std::move(backend);
    why_not = backend.status().ToString();
    return nullptr;
  };
  const std::string error = RunRandomLoad(seed, make_backend, load_figures);
  return why_not.empty() ? error : why_not;
}

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_LOAD_H_
