// SPDX-License-Identifier: Apache-2.0
// The time as the schedule sees it, so that tests can set it.
#ifndef RECURVE_ENGINE_SCHEDULE_CLOCK_H_
#define RECURVE_ENGINE_SCHEDULE_CLOCK_H_

#include "engine/base/steady_time.h"

namespace recurve {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Now() const = 0;

  // The machine's monotonic clock; thread-safe.
  static const Clock* Steady();
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_CLOCK_H_
