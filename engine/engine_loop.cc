// SPDX-License-Identifier: Apache-2.0
#include "engine/engine_loop.h"

#include <utility>

#include "engine/schedule/step_loop.h"

namespace recurve {

EngineLoop::EngineLoop(std::unique_ptr<Backend> backend, std::unique_ptr<Schedule> schedule,
                       uint32_t queue_depth, const Clock* clock, Inbox* inbox, StepWatch* watch)
    : backend_(std::move(backend)),
      schedule_(std::move(schedule)),
      queue_depth_(queue_depth),
      clock_(clock),
      inbox_(inbox),
      watch_(watch) {
  Publish();
}

void EngineLoop::Run() {
  const absl::Status status = RunSteps(
      *backend_, queue_depth_, [this] { return NextPlan(); },
      [this](const StepResult& result) { Commit(result); });
  // A failed step has come back, too, so that it is not taken for one that hangs.
  const bool too_late = !watch_->Ended(clock_->Now(), /*others=*/false);
  if (status.ok() && !too_late) return;
  inbox_->Fail(status);  // after a step that came too late it has failed already
  TakeIn(/*wait=*/false);
  if (too_late) {
    for (const auto& [id, output] : outputs_) output->Abandon();
  }
  schedule_->EndAll(EndReason::kFailed, UnavailableSince(status));
  Publish();
  TellEnds();
}

const StepPlan* EngineLoop::NextPlan() {
  if (watch_->expired()) return nullptr;
  TakeIn(/*wait=*/false);
  while (!schedule_->HasWork() && backend_->Outstanding() == 0) {
    Publish();
    TellEnds();
    if (inbox_->stopped()) return nullptr;
    TakeIn(/*wait=*/true);
  }
  if (!schedule_->HasWork()) return nullptr;
  const StepPlan& plan = schedule_->Plan();
  // Most plans change nothing that the commit of their step does not change again, but for who
  // waits: a place in the queue is free as soon as it can be.
  if (!ended_.empty() || !plan.admits.empty()) {
    Publish();
  } else {
    inbox_->SetScheduled(schedule_->waiting());
  }
  TellEnds();
  watch_->Began(clock_->Now());
  return &plan;
}

void EngineLoop::TakeIn(bool wait) {
  Inbox::Batch batch = inbox_->Take(wait);
  for (Arrival& arrival : batch.arrivals) Accept(std::move(arrival));
  for (const uint64_t id : batch.cancels) schedule_->Cancel(id);
  if (batch.end_all) schedule_->EndAll(*batch.end_all, absl::OkStatus());
}

void EngineLoop::Accept(Arrival arrival) {
  for (size_t i = 0; i < arrival.samples.size(); ++i) {
    ScheduledSample& sample = arrival.samples[i];
    const uint64_t id = sample.id = arrival.first_id + i;
    std::unique_ptr<SampleOutput>& output = arrival.outputs[i];
    output->WhenEnded([this, id] { ended_.push_back(id); });
    sample.observer = output.get();
    outputs_[id] = std::move(output);
    // All may end at once, which allocates nothing then.
    if (ended_.capacity() < outputs_.size()) ended_.reserve(2 * outputs_.size());
    schedule_->Accept(std::move(sample), arrival.queued);
  }
}

void EngineLoop::Commit(const StepResult& result) {
  if (!watch_->Ended(clock_->Now(), backend_->Outstanding() > 0)) return;
  statistics_.Add(result);
  schedule_->Commit(result);
  Publish();
  TellEnds();
}

void EngineLoop::Publish() {
  inbox_->SetScheduled(schedule_->waiting());
  const ScheduleCounters& counters = schedule_->counters();
  const MutexLock lock(published_mutex_);
  published_counters_ = counters;  // into the memory that it has
  published_totals_ = statistics_.totals();
}

void EngineLoop::TellEnds() {
  if (ended_.empty()) return;
  for (const uint64_t id : ended_) {
    const auto output = outputs_.find(id);
    output->second->TellEnd();
    outputs_.erase(output);
  }
  inbox_->Ended(ended_);
  ended_.clear();
}

void EngineLoop::Describe(EngineSnapshot* snapshot) const {
  const MutexLock lock(published_mutex_);
  snapshot->schedule = published_counters_;
  snapshot->steps = published_totals_;
}

}  // namespace recurve
