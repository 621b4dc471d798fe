// SPDX-License-Identifier: Apache-2.0
// What runs next. The schedule holds every sample from its acceptance to its end, makes the plan
// of each step, and learns from each step's result what became of it. The loop around it is
// RunSteps (step_loop.h), which has a plan for as long as HasWork.
//
// Rules
//   Admission is in the queue's order, when there is a slot and memory (admission_rule.h). If that
//   can be had from running samples of lower priority, they are preempted. Rows are the backend's
//   choice within the plan's caps; prompt chunks and generated tokens share a step. The schedule's
//   only brake is a slot's room. Pages are extended in order of precedence: by priority, then
//   oldest first. When the first cannot get them, the last is preempted: it goes back to the front
//   of the queue, is computed again later, and continues as if nothing had happened. Any other
//   sequence that cannot get pages is held until it can. Whoever was preempted max_preemptions
//   times comes back with pages for all that it may become, and stays. Only Plan drops, extends,
//   preempts and admits; only Commit advances a sequence.
//
//   Further rules stand with their classes: which prefixes are shared (prefix_sharing.h), where a
//   sequence with a KV budget drops entries (boundaries.h), which tokens may be given fewer
//   recursions (depth_dial.h), when EXIT and ENTRY run (policy.h, staging.h), how many prompt
//   rows share a step with generated ones (prompt_budget.h), how what a plan has no space for waits
//   (plan_builder.h).
#ifndef RECURVE_ENGINE_SCHEDULE_SCHEDULE_H_
#define RECURVE_ENGINE_SCHEDULE_SCHEDULE_H_

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/api/snapshot.h"
#include "engine/backend/step.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/kv/prefix_cache.h"
#include "engine/schedule/admission_rule.h"
#include "engine/schedule/boundaries.h"
#include "engine/schedule/clock.h"
#include "engine/schedule/depth_dial.h"
#include "engine/schedule/options.h"
#include "engine/schedule/plan_builder.h"
#include "engine/schedule/prefix_sharing.h"
#include "engine/schedule/prompt_budget.h"
#include "engine/schedule/sample.h"
#include "engine/schedule/schedule_accounts.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/staging.h"
#include "engine/schedule/stays.h"
#include "engine/schedule/waiting_queue.h"

namespace recurve {

// Pure host logic: no threads, no kernels, the clock is injected. Thread-compatible: in the engine
// it is the loop's alone. Every sample must have ended before the schedule is destroyed (EndAll).
class Schedule {
 public:
  // `clock` outlives the schedule. InvalidArgument names the option.
  static absl::StatusOr<std::unique_ptr<Schedule>> Create(ScheduleOptions options,
                                                          const StepShape& shape,
                                                          const Clock* clock);

  // Accepts a sample; its observer hears of it until OnEnded. InvalidArgument: it could not run
  // even alone; names the field, the value and the limit. ResourceExhausted: names the queue's
  // bound that is reached. On an error the observer hears nothing.
  absl::Status Add(ScheduledSample sample);

  // The same for several, in this order: all are accepted or none.
  absl::Status AddAll(std::vector<ScheduledSample> samples);

  // The same without the checks: of a sample that has passed CheckCanRun, and has had its place in
  // the queue (CheckCapacity) since `queued`. For whoever accepts samples on another thread.
  void Accept(ScheduledSample&& sample, SteadyTime queued);

  // Ends the sample with kCancelled, in whatever state it is. False if there is none of that id.
  bool Cancel(uint64_t id);

  // Ends every sample with `reason`; `status` is an error iff that is kFailed.
  void EndAll(EndReason reason, const absl::Status& status);

  // Whether there is any sample. If so, planning and running steps gets it to its end.
  bool HasWork() const { return !sequences_.empty(); }

  // The plan of the next step; valid until the next call. Ends samples whose time has come.
  const StepPlan& Plan();

  // Takes in the result of the oldest plan whose result has not been committed.
  void Commit(const StepResult& result);

  // As of now, until the next call of any method.
  const ScheduleCounters& counters();
  const QueueLoad& waiting() const { return queue_.load(); }
  const ScheduleOptions& options() const { return options_; }
  const StepShape& shape() const { return shape_; }

 private:
  Schedule(ScheduleOptions options, const StepShape& shape, const Clock* clock);

  void Leave(Sequence& sequence);  // its slot
  // Takes the sequence out of everything and tells its observer.
  void End(Sequence& sequence, EndReason reason, const absl::Status& status);

  // Of the plan that is being made.
  uint32_t EndsMin();
  // Sequences in slots that are past their prompts.
  uint32_t Generating() const;
  // A plan's parts, in this order.
  void EndDue(SteadyTime now);
  void PreemptForPriority();
  void EvictAtBoundaries();
  void ReturnSurplusPages();
  void ShareSteps();
  void ExtendRunning();
  void AdmitWaiting();

  // Tries until it succeeds: cached prefixes go first and then, for running_[0], who comes last.
  bool WithPages(size_t index, absl::FunctionRef<bool()> attempt);
  void RaiseRoom(Stay& stay, uint32_t room);
  // Sequence::FollowCap, with the dial's present cap.
  void FollowDial(Sequence& sequence, uint32_t position);
  void Preempt(Sequence& sequence);
  void AdmitNext(const CachedPrefix& prefix);
  void MarkStarted(Sequence& sequence);

  // Takes in what a step did to a sequence.
  void Deliver(Stay& stay, const SlotState& before, const Outcome& outcome,
               std::span<const uint32_t> depths, const StepResult& result);

  const ScheduleOptions options_;
  const StepShape shape_;
  const Clock* const clock_;
  DepthDial dial_;
  Staging staging_;
  PromptBudget prompt_budget_;
  std::unordered_map<uint64_t, Sequence> sequences_;  // by the sample's id
  WaitingQueue queue_;
  std::vector<Sequence*> running_;                 // in order of precedence
  uint64_t admitted_ = 0;                          // samples, each counted once
  std::set<std::pair<SteadyTime, uint64_t>> due_;  // when a sample ends next, and its id
  Stays stays_;
  PagePool pool_;
  PageTables tables_;
  PrefixSharing prefixes_;
  const Boundaries boundaries_;
  const AdmissionRule admission_;
  ScheduleAccounts accounts_;

  PlanBuilder builder_;
  std::vector<SlotState> before_;  // of each outcome that is being committed
  bool preempted_ = false;         // for memory, in this plan
  uint32_t ends_min_ = 1;          // of the last plan
  uint32_t planned_ = 0;           // epoch of the last plan
  uint32_t committed_ = 0;         // epoch of the last committed result
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_SCHEDULE_H_
