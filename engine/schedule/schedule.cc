// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/schedule.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

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
    sequence.sample.observer->OnLogits(result.logits_rows[i].position,
                                       std::span(result.logits).subspan(i * vocab, vocab));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Schedule>> Schedule::Create(ScheduleOptions options,
                                                           const StepShape& shape,
                                                           const Clock* clock) {
  RETURN_IF_ERROR(ValidateOptions(options, shape));
  return std::unique_ptr<Schedule>(new Schedule(std::move(options), shape, clock));
}

Schedule::Schedule(ScheduleOptions options, const StepShape& shape, const Clock* clock)
    : options_(std::move(options)),
      shape_(shape),
      clock_(clock),
      dial_(shape.recursions, options_.queue_time_goal),
      staging_(options_.costs, shape, options_.limits),
      prompt_budget_(options_.costs, options_.limits),
      stays_(options_.limits.slots, options_.limits.areas),
      pool_(options_.limits.pages),
      tables_(&pool_, options_.limits.slots, shape, options_.entries_per_page),
      prefixes_(options_, shape, &pool_, &tables_, &queue_),
      boundaries_(shape, options_.entries_per_page, &tables_),
      admission_(options_, &stays_, &pool_, &tables_),
      accounts_(shape, options_.entries_per_page),
      builder_(options_.limits) {
  before_.reserve(options_.limits.slots);
}

absl::Status Schedule::Add(ScheduledSample sample) {
  std::vector<ScheduledSample> samples;
  samples.push_back(std::move(sample));
  return AddAll(std::move(samples));
}

absl::Status Schedule::AddAll(std::vector<ScheduledSample> samples) {
  for (const ScheduledSample& sample : samples) {
    RETURN_IF_ERROR(CheckCanRun(sample, options_, shape_));
  }
  RETURN_IF_ERROR(CheckCapacity(queue_.load(), LoadOf(samples), options_.most_queued()));
  const SteadyTime now = clock_->Now();
  for (ScheduledSample& sample : samples) Accept(std::move(sample), now);
  return absl::OkStatus();
}

void Schedule::Accept(ScheduledSample&& sample, SteadyTime queued) {
  RECURVE_CHECK(sample.observer != nullptr);
  const uint64_t id = sample.id;
  const auto [place, is_new] =
      sequences_.try_emplace(id, std::move(sample), options_, shape_, queued);
  RECURVE_CHECK(is_new);
  Sequence& sequence = place->second;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.emplace(*due, id);
  queue_.Add(&sequence);
}

bool Schedule::Cancel(uint64_t id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return false;
  End(found->second, EndReason::kCancelled, absl::OkStatus());
  return true;
}

void Schedule::EndAll(EndReason reason, const absl::Status& status) {
  while (!running_.empty()) End(*running_.front(), reason, status);
  while (!sequences_.empty()) End(sequences_.begin()->second, reason, status);
}

void Schedule::Leave(Sequence& sequence) {
  tables_.Release(sequence.slot);
  stays_.End(sequence.slot);
  running_.erase(std::find(running_.begin(), running_.end(), &sequence));
  sequence.StopRecomputing(clock_->Now());
  prefixes_.StopLeading(sequence);
}

void Schedule::End(Sequence& sequence, EndReason reason, const absl::Status& status) {
  if (sequence.slot != kNoSlot) {
    Leave(sequence);
  } else {
    queue_.Remove(&sequence);
  }
  const uint64_t id = sequence.sample.id;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.erase({*due, id});
  accounts_.CountEnd(sequence.stats);
  Ending ending{std::move(sequence.stats), reason, StatusOf(reason, status)};
  ending.ended = clock_->Now();
  SampleObserver* const observer = sequence.sample.observer;
  sequences_.erase(id);
  observer->OnEnded(std::move(ending));
}

void Schedule::Commit(const StepResult& result) {
  RECURVE_CHECK(result.epoch == committed_ + 1 && result.epoch <= planned_);
  committed_ = result.epoch;
  before_.clear();
  for (const Outcome& outcome : result.outcomes) {
    Stay& stay = stays_.At(outcome.slot, result.epoch);
    before_.push_back(stay.state);
    stay.state = Resolve(stay.state, outcome, stay.limits, shape_);
    stay.last_ran = result.epoch;
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
  if (sequence.sample.logprobs.has_value()) logprobs = OfSlot(result.logprobs, outcome.slot);
  if (sequence.sample.raw_logits) TellLogits(sequence, result);
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
    // Prompts have depths of their own.
    if (before.position >= stay.limits.prompt) staging_.CountDepth(depths.back());
    const bool stop_string =
        sequence.TellToken({outcome.token, position, depths.back(), stop_id, logprobs});
    if (stop_id) return End(sequence, sequence.StopReason(outcome.token), absl::OkStatus());
    if (stop_string) return End(sequence, EndReason::kStopString, absl::OkStatus());
  }
  if (stay.state.stage == Stage::kNone) End(sequence, sequence.end_reason, absl::OkStatus());
}

const ScheduleCounters& Schedule::counters() {
  ScheduleCounters& counters = accounts_.Now(running_, stays_, tables_);
  counters.running = static_cast<uint32_t>(running_.size());
  counters.waiting = queue_.load().samples;
  counters.waiting_tokens = queue_.load().tokens;
  counters.depth_cap = dial_.cap();
  counters.ends_min = std::min(ends_min_, options_.limits.slots);
  counters.prompt_rows = std::min(prompt_budget_.rows(), options_.limits.prompt_rows);
  counters.pages_free = pool_.free();
  counters.pages_cached = pool_.cached();
  counters.pages_reserved = pool_.in_use() - pool_.cached();
  counters.pages_in_use_peak = pool_.peak();
  return counters;
}

}  // namespace recurve
