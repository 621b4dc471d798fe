// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_BACKEND_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_BACKEND_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/step_replay.h"
#include "engine/backend/step.h"
#include "tests/engine/backend/cuda/cpu_lists.h"
#include "tests/engine/backend/cuda/fake_device.h"
#include "tests/engine/schedule/drawn_load.h"

namespace recurve::cuda {

// How much of everything the planner was given.
struct PlannerFigures {
  uint64_t exit_rows = 0, entry_rows = 0, block_rows = 0;
  uint64_t mixed_steps = 0;      // with rows of several recursions
  uint64_t penalized_spans = 0;  // that pass EXIT and whose tokens are counted
  uint64_t raw_logits = 0;       // rows
  uint64_t copies = 0, evictions = 0;
  uint64_t not_finite = 0;  // outcomes
  std::string error;        // of the first step that failed
};

// The backend's planner, evictions and page copies on an emulated device, under a drawn load: each
// step's lists are compared with the CPU backend's, and its rows run by the load's model. What the
// load does not draw is drawn here: how far apart its slots lie in the planner's block, penalties,
// raw logits and an overlay. Thread-compatible.
class PlannerBackend final : public Backend {
 public:
  // Borrows the load and the figures, to which it adds. `broken`: one row with logits in so many is
  // not finite, which the load does not expect; 0: none.
  static absl::StatusOr<std::unique_ptr<PlannerBackend>> Create(const DrawnLoad& load,
                                                                PlannerFigures* figures,
                                                                uint32_t broken = 0);

  // Internal names step, slot and field of the first difference.
  absl::Status Submit(const StepPlan& plan) override;
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override { return static_cast<uint32_t>(results_.size()); }

 private:
  // The load's slot `i` is the planner's slot first + i * step.
  struct SlotSpread {
    uint32_t first = 0;
    uint32_t step = 1;
    uint32_t Out(uint32_t slot) const { return first + slot * step; }
    uint32_t Back(uint32_t slot) const { return (slot - first) / step; }
  };

  PlannerBackend(SlotSpread spread, std::unique_ptr<FakeDevice> device, const BackendLimits& limits,
                 const DrawnLoad& load, PlannerFigures* figures);
  void Rewrite(StepPlan& plan);
  absl::Status Run(const StepPlan& plan);
  absl::Status Step(const StepPlan& plan, StepResult& result);
  absl::Status Compare(const StepResult& result) const;
  void Count(const StepPlan& plan, const StepResult& result);

  const SlotSpread spread_;
  const std::unique_ptr<FakeDevice> device_;
  CpuLists cpu_;
  StepReplay replay_;
  std::mt19937_64 random_;
  PlannerFigures* const figures_;
  std::deque<StepResult> results_;  // run, not yet collected
};

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_PLANNER_BACKEND_H_
