// SPDX-License-Identifier: Apache-2.0
// Between the engine's callers and its loop: what they ask for, whether more is accepted, and what
// has not ended yet.
#ifndef RECURVE_ENGINE_INBOX_H_
#define RECURVE_ENGINE_INBOX_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/api/output.h"
#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"
#include "engine/sample_output.h"
#include "engine/schedule/options.h"
#include "engine/schedule/sample.h"

namespace recurve {

// What callers and samples hear after `failure`.
absl::Status UnavailableSince(const absl::Status& failure);

// An accepted request on its way to the loop.
struct Arrival {
  std::vector<ScheduledSample> samples;                // id and observer: the loop's to fill in
  std::vector<std::unique_ptr<SampleOutput>> outputs;  // [samples]
  SteadyTime queued;
  uint64_t first_id = 0;  // of sample 0, from Add on; the others' follow one by one
};

// Bounded: in arrivals by the places in the queue, of which each takes one until the schedule has
// it; in cancellations by the samples that have not ended. Thread-safe; waits are said so.
class Inbox {
 public:
  // `most`: samples and prompt tokens that may wait for a slot, here and in the schedule together.
  explicit Inbox(const QueueLoad& most) : most_(most) {}

  // ---- Callers ----

  // Whether so many samples, of any length, would be accepted now: as Add.
  absl::Status CheckOpen(uint32_t samples) const;

  // Reserves places in the queue for all samples of `arrival`, or none, and leaves it for the loop.
  // Returns the id of sample 0. ResourceExhausted and InvalidArgument as CheckCapacity; Unavailable
  // after Close and after a failure.
  absl::StatusOr<uint64_t> Add(Arrival arrival);

  // Asks for the end of one sample. Ids that are unknown, have ended or were cancelled are ignored.
  void Cancel(uint64_t id);

  // Nothing more is accepted.
  void Close();
  // Asks for the end of all that has not ended. Comes after Close.
  void EndAll(EndReason reason);
  // Lets the loop go once all has ended. Comes after EndAll.
  void Stop();

  // Waits until all samples have ended, the engine has failed or `until` has come: false if that.
  bool WaitUntilAllEnded(SteadyTime until) const;
  // Waits until the engine has failed (its status) or StopWaiting is called (OK).
  absl::Status WaitForFailure() const;
  void StopWaiting();
  // Waits for Stop, `time` at most; whether it was called.
  bool WaitForStop(std::chrono::nanoseconds time) const;

  struct State {
    QueueLoad waiting;  // here and in the schedule
    bool closed = false;
    bool failed = false;
    uint64_t prompt_tokens = 0;  // of all requests that were ever accepted
  };
  State state() const;

  // ---- The loop ----

  struct Batch {
    std::vector<Arrival> arrivals;  // in the order of their ids
    std::vector<uint64_t> cancels;  // of these or of earlier ones
    std::optional<EndReason> end_all;
  };
  // What has come since the last call; with `wait` not before there is any, or Stop was called.
  Batch Take(bool wait);

  // What waits in the schedule, with all that was taken.
  void SetScheduled(const QueueLoad& waiting);

  // These samples have ended, and their sinks know it.
  void Ended(std::span<const uint64_t> ids);

  bool stopped() const;

  // ---- Any thread ----

  // Nothing more is accepted, for this reason. The first one stays.
  void Fail(const absl::Status& status);

 private:
  absl::Status CheckOpenFor(const QueueLoad& more) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  QueueLoad Waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const QueueLoad most_;

  mutable Mutex mutex_;
  CondVar came_;             // a command, or Stop
  mutable CondVar changed_;  // what others wait for
  Batch batch_ ABSL_GUARDED_BY(mutex_);
  // Places taken by arrivals that are here, and by those whom the loop took since SetScheduled.
  QueueLoad here_ ABSL_GUARDED_BY(mutex_);
  QueueLoad taken_ ABSL_GUARDED_BY(mutex_);
  QueueLoad scheduled_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t live_ ABSL_GUARDED_BY(mutex_) = 0;                         // samples that have not ended
  std::unordered_set<uint64_t> cancellable_ ABSL_GUARDED_BY(mutex_);  // those not cancelled yet
  uint64_t prompt_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool waiting_stopped_ ABSL_GUARDED_BY(mutex_) = false;  // for a failure
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_INBOX_H_
