// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/row_bound.h"

#include <algorithm>

namespace recurve::cuda {

uint32_t RowBound::Submit(const StepPlan& plan) {
  for (const Drop& drop : plan.drops) slots_[drop.slot].rows = 0;
  for (const Admission& admission : plan.admits) {
    const bool in_prompt = admission.state.position < admission.limits.prompt;
    slots_[admission.slot] = {in_prompt ? admission.limits.chunk : 1, in_prompt, plan.epoch};
  }
  // Each kind of rows has a cap of its own.
  uint64_t generated = 0;
  uint64_t prompts = 0;
  for (const SlotRows& slot : slots_) (slot.in_prompt ? prompts : generated) += slot.rows;
  generated = std::min<uint64_t>(generated, std::max(plan.ends, plan.block_rows));
  return static_cast<uint32_t>(generated + std::min<uint64_t>(prompts, plan.prompt_rows));
}

void RowBound::Collect(const StepResult& result, const SlotTable& table) {
  for (const Outcome& outcome : result.outcomes) {
    SlotRows& slot = slots_[outcome.slot];
    // A plan that came later has given the place to another.
    if (slot.since > result.epoch || slot.rows == 0) continue;
    const Slot& now = table.slot(outcome.slot);
    if (now.state.stage == Stage::kNone) {
      slot.rows = 0;
    } else if (now.state.position >= now.limits.prompt) {
      slot.rows = 1;
      slot.in_prompt = false;
    }
  }
}

}  // namespace recurve::cuda
