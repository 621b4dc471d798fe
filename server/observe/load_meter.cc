// SPDX-License-Identifier: Apache-2.0
#include "server/observe/load_meter.h"

#include <ctime>
#include <utility>

namespace recurve {

LoadMeter::LoadMeter(uint32_t processors, SteadyTime now,
                     std::function<std::chrono::nanoseconds()> cpu_time)
    : processors_(processors),
      cpu_time_(std::move(cpu_time)),
      began_(now),
      cpu_began_(cpu_time_()) {}

LoadMeter::Rates LoadMeter::Count(bool error, SteadyTime now) {
  const MutexLock lock(mutex_);
  ++calls_;
  if (error) ++errors_;
  if (now - began_ >= std::chrono::seconds(1)) {
    const double seconds = std::chrono::duration<double>(now - began_).count();
    const std::chrono::nanoseconds cpu = cpu_time_();
    rates_.calls = static_cast<double>(calls_) / seconds;
    rates_.errors = static_cast<double>(errors_) / seconds;
    rates_.cpu = std::chrono::duration<double>(cpu - cpu_began_).count() / seconds / processors_;
    began_ = now;
    cpu_began_ = cpu;
    calls_ = errors_ = 0;
  }
  return rates_;
}

std::chrono::nanoseconds LoadMeter::ProcessCpuTime() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace recurve
