// SPDX-License-Identifier: Apache-2.0
// Schedule's part that takes in results.
#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/schedule/schedule.h"

namespace recurve {
namespace {

using Logprobs = std::span<const TokenLogprob>;

// A result holds the log probabilities of one slot together.
Logprobs OfSlot(Logprobs all, uint32_t slot) {
  const auto is_slot = [slot](const TokenLogprob& l) { return l.slot == slot; };
  const auto begin = std::find_if(all.begin(), all.end(), is_slot);
  return {begin, std::find_if_not(begin, all.end(), is_slot)};
}

void TellLogits(const Sequence& sequence, const StepResult& result) {
  if (result.logits_rows.empty()) return;
  const size_t vocab = result.logits.size() / result.logits_rows.size();
  for (size_t i = 0; i < result.logits_rows.size(); ++i) {
    if (result.logits_rows[i].slot != sequence.slot) continue;
    sequence.request.observer->OnLogits(result.logits_rows[i].position,
                                        std::span(result.logits).subspan(i * vocab, vocab));
  }
}

}  // namespace

void Schedule::Commit(const StepResult& result) {
  RECURVE_CHECK(result.epoch == committed_ + 1 && result.epoch <= planned_);
  committed_ = result.epoch;
  before_.clear();
  for (const Outcome& outcome : result.outcomes) {
    Stay& stay = stays_.At(outcome.slot, result.epoch);
    before_.push_back(stay.state);
    stay.state = Resolve(stay.state, outcome, stay.limits, shape_);
  }
  accounts_.RaisePeaks(running_, stays_, tables_);
  size_t next = 0;  // in result.depths
  for (size_t i = 0; i < before_.size(); ++i) {
    const Outcome& outcome = result.outcomes[i];
    if ((outcome.ran & kRanExit) == 0) continue;
    Stay& stay = stays_.At(outcome.slot, result.epoch);
    const SlotState& before = before_[i];
    RECURVE_CHECK(next + before.rows <= result.depths.size());
    const auto depths = std::span(result.depths).subspan(next, before.rows);
    next += before.rows;
    if (stay.sequence != nullptr) Deliver(stay, before, outcome, depths, result);
  }
}

void Schedule::Deliver(Stay& stay, const SlotState& before, const Outcome& outcome,
                       std::span<const uint32_t> depths, const StepResult& result) {
  Sequence& sequence = *stay.sequence;
  const uint32_t position = before.position + before.rows;
  Logprobs logprobs;
  if (sequence.request.logprobs.has_value()) logprobs = OfSlot(result.logprobs, outcome.slot);
  if (sequence.request.raw_logits) TellLogits(sequence, result);
  accounts_.CountRows(sequence, before.position, depths, clock_->Now());
  sequence.TellRows(before.position, depths, logprobs);
  prefixes_.Store(sequence, before.position, depths);
  if (position >= stay.limits.prompt) stays_.ReturnArea(outcome.slot);

  if ((outcome.flags & kNotFinite) != 0) {
    return End(sequence, EndReason::kFailed,
               absl::InternalError(absl::StrCat("logits before position ", position,
                                                " hold a NaN or an infinity")));
  }
  if (outcome.token != kNoToken) {
    RECURVE_CHECK(position == sequence.tokens.size());
    const bool stop_id = (outcome.flags & kStopId) != 0;
    accounts_.CountToken(sequence, depths.back(), clock_->Now());
    const bool stop_string =
        sequence.TellToken({outcome.token, position, depths.back(), stop_id, logprobs});
    if (stop_id) return End(sequence, sequence.StopReason(outcome.token), absl::OkStatus());
    if (stop_string) return End(sequence, EndReason::kStopString, absl::OkStatus());
  }
  if (stay.state.stage == Stage::kNone) End(sequence, sequence.end_reason, absl::OkStatus());
}

}  // namespace recurve
