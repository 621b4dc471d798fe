// SPDX-License-Identifier: Apache-2.0
#include "server/call/egress.h"

#include <algorithm>
#include <utility>

namespace recurve {

using std::chrono::steady_clock;

Egress::Egress(const StreamOptions& options)
    // A stall is noticed at most a quarter late.
    : sweep_every_(
          std::min<std::chrono::nanoseconds>(options.stall_timeout / 4, std::chrono::seconds(1))),
      thread_([this] { Run(); }) {}

Egress::~Egress() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.NotifyOne();
  thread_.join();
}

void Egress::Open(std::shared_ptr<EgressClient> client) {
  {
    const MutexLock lock(mutex_);
    EgressClient* key = client.get();
    open_.emplace(key, std::move(client));
  }
  work_.NotifyOne();  // from now on there is something to sweep
}

void Egress::Close(EgressClient* client) {
  const MutexLock lock(mutex_);
  const auto found = open_.find(client);
  if (found == open_.end()) return;
  closed_.push_back(std::move(found->second));
  open_.erase(found);
  if (open_.empty()) none_open_.NotifyAll();
  work_.NotifyOne();
}

void Egress::Schedule(std::shared_ptr<EgressClient> client) {
  if (client->scheduled_.exchange(true, std::memory_order_acq_rel)) return;
  {
    const MutexLock lock(mutex_);
    ready_.push_back(std::move(client));
  }
  work_.NotifyOne();
}

void Egress::ScheduleAll() {
  for (std::shared_ptr<EgressClient>& client : OpenClients()) Schedule(std::move(client));
}

std::vector<std::shared_ptr<EgressClient>> Egress::OpenClients() {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<EgressClient>> open;
  open.reserve(open_.size());
  for (const auto& [key, client] : open_) open.push_back(client);
  return open;
}

size_t Egress::WaitUntilNoneOpen(SteadyTime until) {
  const MutexLock lock(mutex_);
  while (!open_.empty() && none_open_.WaitUntil(mutex_, until)) {
  }
  return open_.size();
}

void Egress::Run() {
  std::vector<std::shared_ptr<EgressClient>> batch, closed;
  SteadyTime next_sweep = steady_clock::now() + sweep_every_;
  while (true) {
    {
      const MutexLock lock(mutex_);
      while (ready_.empty() && closed_.empty() && !stopping_) {
        if (open_.empty()) {
          work_.Wait(mutex_);  // idle: nothing to write and nobody to watch
        } else if (!work_.WaitUntil(mutex_, next_sweep)) {
          break;
        }
      }
      if (ready_.empty() && closed_.empty() && stopping_) return;
      batch.swap(ready_);
      closed.swap(closed_);
    }
    for (const std::shared_ptr<EgressClient>& client : batch) {
      client->scheduled_.store(false, std::memory_order_release);
      client->Pump();
    }
    batch.clear();
    closed.clear();  // here, without the lock, clients are destroyed
    if (const SteadyTime now = steady_clock::now(); now >= next_sweep) {
      Sweep(now);
      next_sweep = now + sweep_every_;
    }
  }
}

void Egress::Sweep(SteadyTime now) {
  for (const std::shared_ptr<EgressClient>& client : OpenClients()) client->CheckStall(now);
}

}  // namespace recurve
