// SPDX-License-Identifier: Apache-2.0
#include "server/observe/self_check.h"

#include <algorithm>
#include <string>
#include <utility>

namespace recurve {
namespace {

double Seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

bool Verdict::Answered() {
  unanswered_ = 0;
  return std::exchange(deaf_, false);
}

bool Verdict::Unanswered(SteadyTime asked, SteadyTime now) {
  if (unanswered_++ == 0) since_ = asked;
  const bool deaf = unanswered_ >= 2 && now - since_ >= timeout_;
  return deaf && !std::exchange(deaf_, true);
}

std::chrono::nanoseconds Verdict::silence(SteadyTime now) const {
  return unanswered_ == 0 ? std::chrono::nanoseconds(0) : now - since_;
}

SelfCheck::SelfCheck(const SelfCheckOptions& options, std::unique_ptr<Probe> probe,
                     Listeners listeners, Log* log, std::function<SteadyTime()> now)
    : options_(options),
      probe_(std::move(probe)),
      listeners_(std::move(listeners)),
      log_(log),
      now_(std::move(now)),
      verdict_(options.timeout),
      thread_([this] { Run(); }) {}

SelfCheck::~SelfCheck() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stop_.NotifyOne();
  probe_->Cancel();
  thread_.join();
}

void SelfCheck::Run() {
  MutexLock lock(mutex_);
  std::chrono::nanoseconds wait(0);
  while (true) {
    const SteadyTime next = std::chrono::steady_clock::now() + wait;
    while (!stopping_ && stop_.WaitUntil(mutex_, next)) {
    }
    if (stopping_) return;
    lock.Unlock();
    const SteadyTime asked = now_();
    const absl::Status answer = probe_->Ask(asked + options_.timeout / 2);
    const SteadyTime now = now_();
    lock.Lock();
    if (stopping_) return;  // a question that was cancelled says nothing
    Judge(answer, asked, now);
    wait = std::max<std::chrono::nanoseconds>(asked + options_.interval - now, wait.zero());
  }
}

void SelfCheck::Judge(const absl::Status& answer, SteadyTime asked, SteadyTime now) {
  if (answer.ok()) {
    if (verdict_.unanswered() == 0) return;
    log_->Write("self_check_answered", {{"after_seconds", Seconds(verdict_.silence(now))}});
    if (verdict_.Answered()) listeners_.verdict(/*deaf=*/false);
    return;
  }
  listeners_.unanswered();
  const bool deaf = verdict_.Unanswered(asked, now);
  if (!deaf && verdict_.unanswered() > 1) return;
  log_->Write(deaf ? "deaf" : "self_check_unanswered", {{"seconds", Seconds(verdict_.silence(now))},
                                                        {"error", std::string(answer.message())}});
  if (deaf) listeners_.verdict(/*deaf=*/true);
}

}  // namespace recurve
