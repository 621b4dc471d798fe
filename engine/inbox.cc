// SPDX-License-Identifier: Apache-2.0
#include "engine/inbox.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

QueueLoad operator+(const QueueLoad& a, const QueueLoad& b) {
  return {a.samples + b.samples, a.tokens + b.tokens};
}

}  // namespace

absl::Status UnavailableSince(const absl::Status& failure) {
  return absl::UnavailableError(absl::StrCat("the engine has failed: ", failure.message()));
}

// ---- Callers ----

QueueLoad Inbox::Waiting() const { return here_ + taken_ + scheduled_; }

absl::Status Inbox::CheckOpenFor(const QueueLoad& more) const {
  if (!failure_.ok()) return UnavailableSince(failure_);
  if (closed_) return absl::UnavailableError("the engine is shutting down");
  return CheckCapacity(Waiting(), more, most_);
}

absl::Status Inbox::CheckOpen(uint32_t samples) const {
  const MutexLock lock(mutex_);
  return CheckOpenFor({samples, 0});
}

absl::StatusOr<uint64_t> Inbox::Add(Arrival arrival) {
  const QueueLoad load = LoadOf(arrival.samples);
  const MutexLock lock(mutex_);
  if (absl::Status status = CheckOpenFor(load); !status.ok()) return status;
  const uint64_t first = arrival.first_id = next_id_;
  next_id_ += load.samples;
  for (uint64_t id = first; id < next_id_; ++id) cancellable_.insert(id);
  live_ += load.samples;
  here_ = here_ + load;
  prompt_tokens_ += arrival.samples.front().prompt.size();
  batch_.arrivals.push_back(std::move(arrival));
  came_.NotifyOne();
  return first;
}

void Inbox::Cancel(uint64_t id) {
  const MutexLock lock(mutex_);
  if (cancellable_.erase(id) == 0) return;
  batch_.cancels.push_back(id);
  came_.NotifyOne();
}

void Inbox::Close() {
  const MutexLock lock(mutex_);
  closed_ = true;
}

void Inbox::EndAll(EndReason reason) {
  const MutexLock lock(mutex_);
  if (!batch_.end_all) batch_.end_all = reason;
  came_.NotifyOne();
}

void Inbox::Stop() {
  const MutexLock lock(mutex_);
  stopped_ = true;
  came_.NotifyOne();
  changed_.NotifyAll();
}

bool Inbox::WaitUntilAllEnded(SteadyTime until) const {
  const MutexLock lock(mutex_);
  const auto over = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return live_ == 0 || !failure_.ok();
  };
  while (!over() && changed_.WaitUntil(mutex_, until)) {
  }
  return over();
}

absl::Status Inbox::WaitForFailure() const {
  const MutexLock lock(mutex_);
  while (failure_.ok() && !waiting_stopped_) changed_.Wait(mutex_);
  return failure_;
}

void Inbox::StopWaiting() {
  const MutexLock lock(mutex_);
  waiting_stopped_ = true;
  changed_.NotifyAll();
}

bool Inbox::WaitForStop(std::chrono::nanoseconds time) const {
  const SteadyTime until = std::chrono::steady_clock::now() + time;
  const MutexLock lock(mutex_);
  while (!stopped_ && changed_.WaitUntil(mutex_, until)) {
  }
  return stopped_;
}

Inbox::State Inbox::state() const {
  const MutexLock lock(mutex_);
  return {Waiting(), closed_, !failure_.ok(), prompt_tokens_};
}

// ---- The loop ----

Inbox::Batch Inbox::Take(bool wait) {
  const MutexLock lock(mutex_);
  const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return batch_.arrivals.empty() && batch_.cancels.empty() && !batch_.end_all;
  };
  while (wait && empty() && !stopped_) came_.Wait(mutex_);
  taken_ = taken_ + here_;
  here_ = {};
  return std::exchange(batch_, {});
}

void Inbox::SetScheduled(const QueueLoad& waiting) {
  const MutexLock lock(mutex_);
  scheduled_ = waiting;
  taken_ = {};
}

void Inbox::Ended(std::span<const uint64_t> ids) {
  const MutexLock lock(mutex_);
  for (const uint64_t id : ids) cancellable_.erase(id);
  live_ -= ids.size();
  if (live_ == 0) changed_.NotifyAll();
}

bool Inbox::stopped() const {
  const MutexLock lock(mutex_);
  return stopped_;
}

void Inbox::Fail(const absl::Status& status) {
  const MutexLock lock(mutex_);
  failure_.Update(status);
  changed_.NotifyAll();
}

}  // namespace recurve
