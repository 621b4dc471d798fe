// SPDX-License-Identifier: Apache-2.0
// Whether the server's own port answers, asked from outside as a client asks: health that asks only
// inside the process does not see that no new client gets in.
#ifndef RECURVE_SERVER_OBSERVE_SELF_CHECK_H_
#define RECURVE_SERVER_OBSERVE_SELF_CHECK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"
#include "server/observe/log.h"
#include "server/options.h"

namespace recurve {

// Asks once. See health_probe.h for the one that asks the gRPC port.
class Probe {
 public:
  virtual ~Probe() = default;
  // OK once there is an answer; an error that says what came instead, by `until` at the latest.
  virtual absl::Status Ask(SteadyTime until) = 0;
  // Ends Ask soon, now or when it comes. From any thread.
  virtual void Cancel() = 0;
};

// When the port counts as deaf: no answer for `timeout`, to at least two questions, so that one
// that was lost, or a process that was stopped amid one, means nothing. Not thread-safe.
class Verdict {
 public:
  explicit Verdict(Milliseconds timeout) : timeout_(timeout) {}

  bool deaf() const { return deaf_; }
  uint32_t unanswered() const { return unanswered_; }  // questions in a row
  // Each returns whether `deaf` has changed.
  bool Answered();
  bool Unanswered(SteadyTime asked, SteadyTime now);
  // How long there has been no answer.
  std::chrono::nanoseconds silence(SteadyTime now) const;

 private:
  const Milliseconds timeout_;
  uint32_t unanswered_ = 0;
  SteadyTime since_;  // when the first of them was asked
  bool deaf_ = false;
};

// Owns a thread that asks at once and then every `interval`, until destroyed. A question may take
// half of `timeout`.
class SelfCheck {
 public:
  // What becomes of the answers; called on the thread, not when destruction has begun.
  struct Listeners {
    std::function<void()> unanswered;        // a question was
    std::function<void(bool deaf)> verdict;  // it has changed; not deaf at first
  };

  // `log` must outlive the check. `now`: the clock.
  SelfCheck(const SelfCheckOptions& options, std::unique_ptr<Probe> probe, Listeners listeners,
            Log* log, std::function<SteadyTime()> now = std::chrono::steady_clock::now);
  ~SelfCheck();

 private:
  void Run();
  void Judge(const absl::Status& answer, SteadyTime asked, SteadyTime now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SelfCheckOptions options_;
  const std::unique_ptr<Probe> probe_;
  const Listeners listeners_;
  Log* const log_;
  const std::function<SteadyTime()> now_;

  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Verdict verdict_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_SELF_CHECK_H_
