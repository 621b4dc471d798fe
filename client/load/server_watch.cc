// SPDX-License-Identifier: Apache-2.0
#include "client/load/server_watch.h"

#include "absl/time/time.h"

namespace recurve::client {

ServerWatch::ServerWatch(Target& target, std::chrono::milliseconds every)
    : target_(target), before_(target.AskLoad()) {
  if (before_) asking_ = std::thread([this, every] { KeepAsking(every); });
}

ServerWatch::~ServerWatch() { End(); }

std::optional<ServerDelta> ServerWatch::End() {
  if (!asking_.joinable()) return std::nullopt;
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  asking_.join();
  const auto after = target_.AskLoad();
  if (!after) return std::nullopt;
  std::optional<ServerDelta> delta = DeltaOf(*before_, *after);
  const absl::MutexLock lock(&mutex_);
  if (delta) delta->peaks = peaks_;
  return delta;
}

void ServerWatch::KeepAsking(std::chrono::milliseconds every) {
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&ending_), absl::FromChrono(every))) return;
    }
    const auto load = target_.AskLoad();
    if (!load) continue;
    const absl::MutexLock lock(&mutex_);
    peaks_.Note(*load);
  }
}

}  // namespace recurve::client
