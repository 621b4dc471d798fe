// SPDX-License-Identifier: Apache-2.0
// How fast calls end, and what share of the processors the process takes: for load reports.
#ifndef RECURVE_SERVER_OBSERVE_LOAD_METER_H_
#define RECURVE_SERVER_OBSERVE_LOAD_METER_H_

#include <chrono>
#include <cstdint>
#include <functional>

#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"

namespace recurve {

// Thread-safe. Measures over periods of a second or, where calls end seldom, longer: each period
// ends with the first call after a second, and its rates are told until the next one's are there.
class LoadMeter {
 public:
  struct Rates {
    double calls = 0.0;   // that ended, a second
    double errors = 0.0;  // of these, a second
    double cpu = 0.0;     // time of processors over that of `processors`
  };

  // `cpu_time`: of the process since some time; asked once a period.
  LoadMeter(uint32_t processors, SteadyTime now,
            std::function<std::chrono::nanoseconds()> cpu_time = &ProcessCpuTime);

  // Counts a call that ends at `now`, no earlier than any before it, and tells the rates.
  Rates Count(bool error, SteadyTime now);

  static std::chrono::nanoseconds ProcessCpuTime();

 private:
  const uint32_t processors_;
  const std::function<std::chrono::nanoseconds()> cpu_time_;

  Mutex mutex_;
  SteadyTime began_ ABSL_GUARDED_BY(mutex_);  // of this period
  std::chrono::nanoseconds cpu_began_ ABSL_GUARDED_BY(mutex_);
  uint64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;  // in this period
  uint64_t errors_ ABSL_GUARDED_BY(mutex_) = 0;
  Rates rates_ ABSL_GUARDED_BY(mutex_);  // of the last one
};

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_LOAD_METER_H_
