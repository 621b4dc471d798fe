// SPDX-License-Identifier: Apache-2.0
// Whether a step has come back in time. A backend that hangs cannot be interrupted; but it must not
// keep callers waiting who could ask elsewhere.
#ifndef RECURVE_ENGINE_STEP_WATCH_H_
#define RECURVE_ENGINE_STEP_WATCH_H_

#include <algorithm>
#include <chrono>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"

namespace recurve {

// Thread-safe. Of the loop and of whoever watches it exactly one has the last word on a step: once
// Expire has said true Ended says false, and once Ended has said true Expire says false of it.
class StepWatch {
 public:
  explicit StepWatch(std::chrono::nanoseconds timeout) : timeout_(timeout) {}

  std::chrono::nanoseconds timeout() const { return timeout_; }

  // The loop: a step is about to be submitted. It counts from here unless another runs before it.
  void Began(SteadyTime now) {
    const MutexLock lock(mutex_);
    if (!since_) since_ = now;
  }

  // The loop: the oldest step has come back at `now`, and `others` run or wait behind it. False: it
  // was too late.
  [[nodiscard]] bool Ended(SteadyTime now, bool others) {
    const MutexLock lock(mutex_);
    if (expired_) return false;
    since_ = others ? std::optional(now) : std::nullopt;
    return true;
  }

  // Whether the oldest step has taken longer than the timeout; from then on always.
  bool Expire(SteadyTime now) {
    const MutexLock lock(mutex_);
    expired_ = expired_ || (since_ && now - *since_ > timeout_);
    return expired_;
  }

  bool expired() const {
    const MutexLock lock(mutex_);
    return expired_;
  }

  // Of the oldest step that has not come back; 0 if there is none.
  std::chrono::nanoseconds Age(SteadyTime now) const {
    const MutexLock lock(mutex_);
    return since_ ? std::max(now - *since_, std::chrono::nanoseconds(0))
                  : std::chrono::nanoseconds(0);
  }

 private:
  const std::chrono::nanoseconds timeout_;
  mutable Mutex mutex_;
  std::optional<SteadyTime> since_ ABSL_GUARDED_BY(mutex_);
  bool expired_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_STEP_WATCH_H_
