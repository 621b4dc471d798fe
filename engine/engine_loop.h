// SPDX-License-Identifier: Apache-2.0
// The engine's loop: takes in what callers ask for, plans, runs and commits steps, and tells the
// sinks what became of it. Everything that it owns is its thread's alone, but for what it
// publishes.
#ifndef RECURVE_ENGINE_ENGINE_LOOP_H_
#define RECURVE_ENGINE_ENGINE_LOOP_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "engine/api/snapshot.h"
#include "engine/backend/backend.h"
#include "engine/base/mutex.h"
#include "engine/inbox.h"
#include "engine/sample_output.h"
#include "engine/schedule/clock.h"
#include "engine/schedule/schedule.h"
#include "engine/step_statistics.h"
#include "engine/step_watch.h"

namespace recurve {

// Run is called once, by the loop's thread; the rest by any.
class EngineLoop {
 public:
  // Borrows clock, inbox and watch, which outlive it. `queue_depth`: steps queued behind the one
  // that runs.
  EngineLoop(std::unique_ptr<Backend> backend, std::unique_ptr<Schedule> schedule,
             uint32_t queue_depth, const Clock* clock, Inbox* inbox, StepWatch* watch);

  // Until the inbox is stopped and all samples have ended. After a failed step they all end with
  // Unavailable; after one that came back too late, too, but no sink hears of it any more.
  void Run();

  // Fills in `schedule` and `steps`, as of the last committed step, or the last plan if that let a
  // sample in or ended one.
  void Describe(EngineSnapshot* snapshot) const;

 private:
  // The next plan; null if there is nothing to do. With nothing outstanding that is the end.
  const StepPlan* NextPlan();
  // Takes in the result of the oldest step, unless the step came back too late.
  void Commit(const StepResult& result);

  // Does what callers have asked for; with `wait` not before they ask for something.
  void TakeIn(bool wait);
  void Accept(Arrival arrival);
  // Lets callers see the counters of this moment, the inbox's places included.
  void Publish();
  // Tells those whose samples have ended. After Publish, so that whoever knows of an end finds it
  // in the counters.
  void TellEnds();

  const std::unique_ptr<Backend> backend_;
  const std::unique_ptr<Schedule> schedule_;
  const uint32_t queue_depth_;
  const Clock* const clock_;
  Inbox* const inbox_;
  StepWatch* const watch_;

  std::unordered_map<uint64_t, std::unique_ptr<SampleOutput>> outputs_;  // by the sample's id
  std::vector<uint64_t> ended_;  // samples whose sinks do not know it yet
  StepStatistics statistics_;

  mutable Mutex published_mutex_;
  ScheduleCounters published_counters_ ABSL_GUARDED_BY(published_mutex_);
  StepTotals published_totals_ ABSL_GUARDED_BY(published_mutex_);
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_ENGINE_LOOP_H_
