// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/clock.h"

namespace recurve {
namespace {

class SteadyClock final : public Clock {
 public:
  SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace

const Clock* Clock::Steady() {
  static const SteadyClock clock;
  return &clock;
}

}  // namespace recurve
