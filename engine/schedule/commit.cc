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

// Those of positions first .. last - 1; `all` is in position order.
Logprobs OfPositions(Logprobs all, uint32_t first, uint32_t last) {
  const auto below = [&all](uint32_t position) {
    return std::partition_point(all.begin(), all.end(), [position](const TokenLogprob& l) {
      return l.position < position;
    });
  };
  return first < last ? Logprobs{below(first), below(last)} : Logprobs{};
}

// A row of the prompt is a token of it as well; a generated token is counted when it is sampled.
// `counts`: a RequestStats or ScheduleCounters.
template <typename Counts>
void CountRow(bool in_prompt, uint32_t depth, Counts& counts) {
  DepthCounts& depths = in_prompt ? counts.prompt_depth : counts.generated_depth;
  depths.AddRow(depth);
  if (in_prompt) depths.AddToken(depth);
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
  RaisePeaks();     // while those that end now still have their pages
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
  TellRows(sequence, before.position, depths, logprobs);
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
    const bool stop_string = TellToken(sequence, {outcome.token, position, depths.back(), stop_id,
                                                  OfPositions(logprobs, position, position + 1)});
    if (stop_id) return End(sequence, sequence.StopReason(outcome.token), absl::OkStatus());
    if (stop_string) return End(sequence, EndReason::kStopString, absl::OkStatus());
  }
  if (stay.state.stage == Stage::kNone) End(sequence, sequence.end_reason, absl::OkStatus());
}

void Schedule::TellRows(Sequence& sequence, uint32_t position, std::span<const uint32_t> depths,
                        Logprobs logprobs) {
  const uint32_t last = position + static_cast<uint32_t>(depths.size());
  const uint32_t first = std::clamp(sequence.told_rows, position, last);
  sequence.stats.recomputed_tokens += first - position;
  counters_.recomputed_tokens += first - position;
  for (uint32_t row = first; row < last; ++row) {
    const uint32_t depth = depths[row - position];
    RECURVE_CHECK(0 < depth && depth <= shape_.recursions);
    CountRow(row < sequence.prompt, depth, sequence.stats);
    CountRow(row < sequence.prompt, depth, counters_);
    CountLowered(sequence, row, depth);
  }
  if (last >= sequence.told_rows) sequence.StopRecomputing(clock_->Now());
  sequence.told_rows = std::max(sequence.told_rows, last);
  const uint32_t prompt_last = std::min(last, sequence.prompt);
  if (first >= prompt_last) return;
  if (!sequence.request.prompt_logprobs) logprobs = {};
  sequence.request.observer->OnPrompt(
      {first, depths.subspan(first - position, prompt_last - first),
       OfPositions(logprobs, first + 1, std::min(prompt_last + 1, sequence.prompt))});
}

void Schedule::TellPrefix(Sequence& sequence, const CachedPrefix& prefix) {
  const bool is_first = sequence.stats.preemptions == 0;
  if (PrefixSharing::MayFind(sequence) && is_first) {
    counters_.prefix_tokens_wanted += sequence.tokens.size();
  }
  if (prefix.tokens == 0) return;
  if (is_first) {
    sequence.stats.cached_tokens = prefix.tokens;
    counters_.prefix_tokens_found += prefix.tokens;
  }
  const uint32_t first = std::min(sequence.told_rows, prefix.tokens);
  const uint32_t last = std::min(prefix.tokens, sequence.prompt);
  for (uint32_t row = first; row < last; ++row) {
    sequence.stats.prompt_depth.AddToken(prefix.depths[row]);
    sequence.stats.prompt_depth.AddRow(prefix.depths[row]);
  }
  sequence.told_rows = std::max(sequence.told_rows, prefix.tokens);
  if (first >= last) return;
  sequence.request.observer->OnPrompt(
      {first, std::span(prefix.depths).subspan(first, last - first), {}});
}

bool Schedule::TellToken(Sequence& sequence, const TokenOutput& output) {
  sequence.tokens.push_back(output.token);
  RequestStats& stats = sequence.stats;
  stats.last_token = clock_->Now();
  if (!stats.first_token.has_value()) stats.first_token = stats.last_token;
  ++stats.generated_tokens;
  stats.generated_depth.AddToken(output.depth);
  ++counters_.generated_tokens;
  counters_.generated_depth.AddToken(output.depth);
  return sequence.request.observer->OnToken(output);
}

void Schedule::RaisePeaks() {
  CountEntries(counters_);
  for (ScheduleCounters::Group& group : counters_.groups) {
    group.filled_peak = std::max(group.filled_peak, group.filled);
  }
  counters_.pages_filled_peak = std::max(counters_.pages_filled_peak, counters_.pages_filled);
}

}  // namespace recurve
