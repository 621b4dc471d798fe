// SPDX-License-Identifier: Apache-2.0
#include "server/call/intake.h"

#include <algorithm>
#include <utility>

namespace recurve {

Intake::Intake(size_t max_waiting, uint64_t max_waiting_bytes)
    : max_waiting_(max_waiting),
      max_waiting_bytes_(max_waiting_bytes),
      threads_{std::thread([this] { Run(/*takes_long=*/false); }),
               std::thread([this] { Run(/*takes_long=*/true); })} {}

Intake::~Intake() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

bool Intake::Post(TextKind kind, size_t bytes, Job job) {
  {
    const MutexLock lock(mutex_);
    Length& length = bytes <= kShortBytes ? short_ : long_;
    Line& line = length.lines[static_cast<size_t>(kind)];
    if (line.waiting.size() >= max_waiting_) return false;
    if (!line.waiting.empty() && line.bytes + bytes > max_waiting_bytes_) return false;
    line.waiting.push_back({bytes, std::move(job)});
    line.bytes += bytes;
    ++unfinished_;
  }
  work_.NotifyAll();  // not each thread may take it
  return true;
}

void Intake::WaitUntilIdle(SteadyTime until) {
  const MutexLock lock(mutex_);
  while (unfinished_ > 0 && idle_.WaitUntil(mutex_, until)) {
  }
}

Intake::Job Intake::Line::Take() {
  const auto taken =
      shortest_next
          ? std::min_element(waiting.begin(), waiting.end(),
                             [](const Waiting& a, const Waiting& b) { return a.bytes < b.bytes; })
          : waiting.begin();
  shortest_next = !shortest_next;
  bytes -= taken->bytes;
  Job job = std::move(taken->job);
  waiting.erase(taken);
  return job;
}

std::optional<Intake::Job> Intake::Length::Take() {
  for (size_t turn = 0; turn < kNumTextKinds; ++turn) {
    Line& line = lines[next];
    next = (next + 1) % kNumTextKinds;
    if (!line.waiting.empty()) return line.Take();
  }
  return std::nullopt;
}

std::optional<Intake::Job> Intake::Take(bool takes_long) {
  std::optional<Job> job;
  if (takes_long) job = long_.Take();
  return job ? std::move(job) : short_.Take();
}

void Intake::Run(bool takes_long) {
  MutexLock lock(mutex_);
  while (true) {
    if (std::optional<Job> job = Take(takes_long)) {
      lock.Unlock();
      (*job)();
      job.reset();
      lock.Lock();
      if (--unfinished_ == 0) idle_.NotifyAll();
    } else if (stopping_) {
      return;
    } else {
      work_.Wait(mutex_);
    }
  }
}

}  // namespace recurve
