// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/depth_dial.h"

namespace recurve {

void DepthDial::Turn(SteadyTime now, std::chrono::nanoseconds longest_wait) {
  const std::chrono::nanoseconds goal = *goal_;
  if (longest_wait >= goal / kCalmShare) {
    calm_since_.reset();
    const bool had_time = !lowered_.has_value() || now - *lowered_ >= goal;
    if (longest_wait > goal && had_time && cap_ > 1) {
      --cap_;
      lowered_ = now;
    }
    return;
  }
  if (!calm_since_.has_value()) calm_since_ = now;
  // Several rises at once, after a time without plans in which nothing waited.
  const std::chrono::nanoseconds calm = kCalmGoals * goal;
  for (; cap_ < recursions_ && now - *calm_since_ >= calm; *calm_since_ += calm) ++cap_;
}

}  // namespace recurve
