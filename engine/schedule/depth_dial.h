// SPDX-License-Identifier: Apache-2.0
// How deep new tokens may go while more is asked of the engine than it can do.
#ifndef RECURVE_ENGINE_SCHEDULE_DEPTH_DIAL_H_
#define RECURVE_ENGINE_SCHEDULE_DEPTH_DIAL_H_

#include <chrono>
#include <cstdint>
#include <optional>

#include "engine/base/steady_time.h"

namespace recurve {

// A cap on the recursions of new tokens, of samples that allow it, that follows the time in the
// queue. While some sample has waited longer than the goal, the cap falls by one each `goal`: what
// was lowered needs that long to show. After kCalmGoals goals during which none waited longer than
// 1 / kCalmShare of the goal, it rises by one. In between it stays, so that a queue which one more
// recursion would fill again does not make it swing.
//
// Tokens that have begun keep their cap. A plan that raises a room says the cap of the tokens from
// the old room on; each token that is computed again has the cap it had (Sequence::FollowCap).
//
// The dial knows no clock and no samples. Thread-compatible.
class DepthDial {
 public:
  static constexpr int kCalmShare = 2;
  static constexpr int kCalmGoals = 10;

  // Begins at `recursions`, the highest cap. goal > 0; without one the cap stays there.
  DepthDial(uint32_t recursions, std::optional<std::chrono::nanoseconds> goal)
      : recursions_(recursions), goal_(goal), cap_(recursions) {}

  bool has_goal() const { return goal_.has_value(); }

  // Told at each plan if there is a goal: the time, which never goes back, and how long the sample
  // has waited that has waited longest; 0 if none does.
  void Turn(SteadyTime now, std::chrono::nanoseconds longest_wait);

  uint32_t cap() const { return cap_; }  // 1 .. recursions

 private:
  const uint32_t recursions_;
  const std::optional<std::chrono::nanoseconds> goal_;
  uint32_t cap_;
  std::optional<SteadyTime> lowered_;     // last
  std::optional<SteadyTime> calm_since_;  // or since it was raised last
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_DEPTH_DIAL_H_
