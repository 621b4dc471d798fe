// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/schedule.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {

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
      stays_(options_.limits.slots, options_.limits.areas),
      pool_(options_.limits.pages),
      tables_(&pool_, options_.limits.slots, shape, options_.entries_per_page),
      prefixes_(options_, shape, &pool_, &tables_, &queue_),
      accounts_(shape, options_.entries_per_page) {}

absl::Status Schedule::Add(ScheduledRequest request) {
  std::vector<ScheduledRequest> requests;
  requests.push_back(std::move(request));
  return AddAll(std::move(requests));
}

absl::Status Schedule::AddAll(std::vector<ScheduledRequest> requests) {
  QueueLoad more{static_cast<uint32_t>(requests.size()), 0};
  for (const ScheduledRequest& request : requests) {
    RETURN_IF_ERROR(CheckCanRun(request, options_, shape_));
    more.tokens += request.prompt.size();
  }
  RETURN_IF_ERROR(CheckCapacity(queue_.load(), more, options_.most_queued()));
  const SteadyTime now = clock_->Now();
  for (ScheduledRequest& request : requests) Accept(std::move(request), now);
  return absl::OkStatus();
}

void Schedule::Accept(ScheduledRequest&& request, SteadyTime queued) {
  RECURVE_CHECK(request.observer != nullptr);
  const uint64_t id = request.id;
  const auto [place, is_new] =
      sequences_.try_emplace(id, std::move(request), options_, shape_, queued);
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
  const uint32_t slot = sequence.slot;
  // The backend need not hear of a sequence that it has finished by itself.
  if (stays_.Current(slot).state.stage != Stage::kNone) dropped_.push_back(slot);
  tables_.Release(slot);
  stays_.End(slot);
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
  const uint64_t id = sequence.request.id;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.erase({*due, id});
  accounts_.CountEnd(sequence.stats);
  Ending ending{std::move(sequence.stats), reason, StatusOf(reason, status)};
  ending.ended = clock_->Now();
  RequestObserver* const observer = sequence.request.observer;
  sequences_.erase(id);
  observer->OnEnded(std::move(ending));
}

ScheduleCounters Schedule::counters() const {
  ScheduleCounters counters = accounts_.Now(running_, stays_, tables_);
  counters.running = static_cast<uint32_t>(running_.size());
  counters.waiting = queue_.load().requests;
  counters.waiting_tokens = queue_.load().tokens;
  counters.depth_cap = dial_.cap();
  counters.pages_free = pool_.free();
  counters.pages_cached = pool_.cached();
  counters.pages_reserved = pool_.in_use() - pool_.cached();
  counters.pages_in_use_peak = pool_.peak();
  return counters;
}

}  // namespace recurve
