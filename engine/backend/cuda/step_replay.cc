// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_replay.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/rows.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/sampling/arithmetic.h"

namespace recurve::cuda {
namespace {

absl::Status MissingToken(uint32_t slot, uint32_t position) {
  return absl::InternalError(
      absl::StrCat("plan: slot ", slot, " has no token at position ", position));
}

}  // namespace

StepReplay::StepReplay(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
                       const std::array<uint32_t, kMaxGroups>& entries_per_page)
    : bounds_(shape, limits, vocab_size, entries_per_page),
      table_(shape, limits, vocab_size, entries_per_page),
      counted_(limits.slots) {}

absl::Status StepReplay::Submit(const StepPlan& plan) {
  RETURN_IF_ERROR(bounds_.Check(plan));
  RECURVE_CHECK(waiting_ < plans_.size());
  plans_[(first_ + waiting_++) % plans_.size()] = plan;
  return absl::OkStatus();
}

absl::Status StepReplay::Replay(const StepResult& result) {
  RECURVE_CHECK(waiting_ > 0);
  const StepPlan& plan = plans_[first_];
  first_ = (first_ + 1) % plans_.size();
  --waiting_;
  RETURN_IF_ERROR(table_.Apply(plan, [](const Evict& /*evict*/) {}));
  CountHistory(plan);
  for (const Outcome& outcome : result.outcomes) {
    RETURN_IF_ERROR(CheckOutcome(outcome));
    table_.Take(outcome);
  }
  return absl::OkStatus();
}

void StepReplay::CountHistory(const StepPlan& plan) {
  for (const Admission& admission : plan.admits) counted_[admission.slot] = 0;
  for (const TokenChange& change : plan.tokens) {
    const Slot& slot = table_.slot(change.slot);
    if (change.position >= slot.state.position || !UsesTokenCounts(slot.sampling)) continue;
    if (change.position == counted_[change.slot]) ++counted_[change.slot];
  }
}

absl::Status StepReplay::CountSpan(uint32_t id) {
  const Slot& slot = table_.slot(id);
  if (!UsesTokenCounts(slot.sampling)) return absl::OkStatus();
  if (counted_[id] != slot.state.position) return MissingToken(id, counted_[id]);
  counted_[id] += slot.state.rows;
  return absl::OkStatus();
}

absl::Status StepReplay::CheckTokens(uint32_t id, uint32_t position, uint32_t count) const {
  for (uint32_t i = 0; i < count; ++i) {
    if (table_.slot(id).TokenAt(position + i) != kNoToken) continue;
    return MissingToken(id, position + i);
  }
  return absl::OkStatus();
}

absl::Status StepReplay::CheckOutcome(const Outcome& outcome) {
  const uint32_t id = outcome.slot;
  const StepShape& shape = table_.shape();
  SlotState state = table_.slot(id).state;
  const SlotLimits& limits = table_.slot(id).limits;
  Outcome exit = outcome;
  exit.ran &= kRanExit;
  Outcome entry = outcome;
  entry.ran &= kRanEntry;
  if (exit.ran != 0) {
    RETURN_IF_ERROR(table_.CheckPages(id, shape.exit_group(), state.rows));
    if (WantsGivenToken(table_.slot(id), state.position + state.rows - 1)) {
      RETURN_IF_ERROR(CheckTokens(id, state.position + state.rows, 1));
    }
    RETURN_IF_ERROR(CountSpan(id));
    state = Resolve(state, exit, limits, shape);
  }
  if (entry.ran != 0) {
    const uint32_t rows = SpanRows(state, limits);
    RETURN_IF_ERROR(table_.CheckPages(id, shape.entry_group(), rows));
    // The first may be the token that this step has sampled.
    const uint32_t sampled = exit.ran != 0 && outcome.token != kNoToken ? 1 : 0;
    RETURN_IF_ERROR(CheckTokens(id, state.position + sampled, rows - sampled));
    state = Resolve(state, entry, limits, shape);
  }
  if ((outcome.ran & kRanBlock) != 0 && shape.appends(state.recursion)) {
    RETURN_IF_ERROR(table_.CheckPages(id, shape.group(state.recursion), state.active));
  }
  return absl::OkStatus();
}

}  // namespace recurve::cuda
