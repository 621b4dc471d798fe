// SPDX-License-Identifier: Apache-2.0
// When the requests of an open loop are to start.
#ifndef RECURVE_CLIENT_LOAD_SCHEDULE_H_
#define RECURVE_CLIENT_LOAD_SCHEDULE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace recurve::client {

// Starts in seconds from the load's beginning; they never fall. The same arguments give the same
// starts. Knows no clock.
class Schedule {
 public:
  // One every 1 / `rate` seconds, the first at once.
  static Schedule Constant(double rate);
  // The times between starts have a gamma distribution of this shape and the mean 1 / `rate`. With
  // `burstiness` 1 these are Poisson arrivals; below it they come in bursts, above it more evenly.
  static Schedule Gamma(double rate, double burstiness, uint64_t seed);
  // These, in ascending order.
  static Schedule Trace(std::vector<double> starts);

  // None: there are no more.
  std::optional<double> Next();

 private:
  Schedule() = default;

  double gap_ = 0;                                 // without the two below
  std::optional<std::gamma_distribution<>> gaps_;  // drawn
  std::optional<std::vector<double>> starts_;      // given
  std::optional<std::mt19937_64> random_;          // what draws them
  size_t made_ = 0;
  double last_ = 0;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SCHEDULE_H_
