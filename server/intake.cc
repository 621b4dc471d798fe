// SPDX-License-Identifier: Apache-2.0
#include "server/intake.h"

#include <utility>

namespace recurve {
namespace {

// Two, so that one long text does not hold up the short ones behind it.
constexpr int kThreads = 2;

}  // namespace

Intake::Intake(size_t max_waiting) : max_waiting_(max_waiting) {
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Run(); });
}

Intake::~Intake() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Intake::Post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= max_waiting_) return false;
    waiting_.push_back(std::move(job));
  }
  work_.notify_one();
  return true;
}

void Intake::Run() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      job = std::move(waiting_.front());
      waiting_.pop_front();
    }
    job();
  }
}

}  // namespace recurve
