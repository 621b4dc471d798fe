// SPDX-License-Identifier: Apache-2.0
// The host's account of what steps on a device did: it finds plans that contradict a slot's state,
// which the host cannot know yet when the plan is submitted and the device does not look at.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_STEP_REPLAY_H_
#define RECURVE_ENGINE_BACKEND_CUDA_STEP_REPLAY_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/plan_bounds.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"

namespace recurve::cuda {

// A step is submitted, and later replayed with its result: at most two are in between. What the CPU
// backend refuses is refused with the same words, though a step later. Thread-compatible.
class StepReplay {
 public:
  StepReplay(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
             const std::array<uint32_t, kMaxGroups>& entries_per_page);

  // Internal if the plan could lead the device outside of its tables.
  absl::Status Submit(const StepPlan& plan);

  // Replays the oldest plan that was submitted. Internal names what contradicted the slots' states
  // when it ran.
  absl::Status Replay(const StepResult& result);

  // The slots after the last step that was replayed.
  const SlotTable& table() const { return table_; }

 private:
  absl::Status CheckOutcome(const Outcome& outcome);
  // Notes the tokens of a plan, and of a span that passes EXIT, as penalties count them; a token
  // that no plan has told is missing when the next span passes EXIT.
  void CountHistory(const StepPlan& plan);
  absl::Status CountSpan(uint32_t id);
  absl::Status CheckTokens(uint32_t slot, uint32_t position, uint32_t count) const;

  const PlanBounds bounds_;
  SlotTable table_;
  std::vector<uint32_t> counted_;  // [slots]: so many tokens are counted, the first ones
  std::array<StepPlan, 2> plans_;
  uint32_t first_ = 0;  // of the plans that wait
  uint32_t waiting_ = 0;
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_STEP_REPLAY_H_
