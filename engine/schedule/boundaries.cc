// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/boundaries.h"

#include "engine/kv/budget.h"

namespace recurve {

bool Boundaries::IsAt(const Stay& stay) const {
  return stay.state.stage == Stage::kEntry && stay.state.position == stay.boundary &&
         tables_->IsTold(stay.sequence->slot);
}

bool Boundaries::IsOverBudget(const Stay& stay, uint32_t group) const {
  const KvBudget& budget = stay.sequence->sample.budget;
  return entries_per_page_[group] > 0 &&
         stay.state.count[group] > budget.Keep(group, stay.state.position);
}

bool Boundaries::OwnsEntriesAlone(const Stay& stay) const {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (!IsOverBudget(stay, group)) continue;
    if (!tables_->OwnsAlone(stay.sequence->slot, group, stay.state.count[group])) return false;
  }
  return true;
}

void Boundaries::DropEntries(Stay& stay, PlanBuilder& builder) const {
  if (!OwnsEntriesAlone(stay)) return;
  uint32_t evictions = 0;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    evictions += IsOverBudget(stay, group) ? 1 : 0;
  }
  if (!builder.HasSpaceToEvict(evictions)) return;
  SlotState& state = stay.state;
  const KvBudget& budget = stay.sequence->sample.budget;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (!IsOverBudget(stay, group)) continue;
    const uint32_t keep = budget.Keep(group, state.position);
    builder.plan().evicts.push_back({stay.sequence->slot, group, state.count[group], keep});
    state.count[group] = keep;
  }
  stay.boundary = budget.NextBoundary(state.position);
}

bool Boundaries::CopyShared(const Stay& stay, uint32_t group, PlanBuilder& builder) const {
  if (!IsOverBudget(stay, group)) return true;
  StepPlan& plan = builder.plan();
  return tables_->CopyShared(stay.sequence->slot, group, stay.state.count[group],
                             builder.most_pages(), plan.copies, plan.pages);
}

}  // namespace recurve
