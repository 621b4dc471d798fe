// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_OBSERVE_LINE_LIMIT_H_
#define RECURVE_SERVER_OBSERVE_LINE_LIMIT_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "engine/base/steady_time.h"

namespace recurve {

// How many lines of a kind that clients can cause go into the log: kBurst at once, and from then on
// one a second. Thread-compatible.
class LineLimit {
 public:
  static constexpr uint64_t kBurst = 10;

  // Whether a line may be written at `now`, which never falls; otherwise it counts as suppressed.
  bool Admit(SteadyTime now) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - earned_at_);
    if (seconds.count() > 0) {
      earned_at_ += seconds;
      left_ = std::min(kBurst, left_ + static_cast<uint64_t>(seconds.count()));
    }
    if (left_ == 0) {
      ++suppressed_;
      return false;
    }
    --left_;
    return true;
  }

  // Lines suppressed since the last call.
  uint64_t TakeSuppressed() { return std::exchange(suppressed_, 0); }

 private:
  uint64_t left_ = kBurst;
  uint64_t suppressed_ = 0;
  SteadyTime earned_at_{};
};

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_LINE_LIMIT_H_
