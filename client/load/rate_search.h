// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_RATE_SEARCH_H_
#define RECURVE_CLIENT_LOAD_RATE_SEARCH_H_

#include <optional>

namespace recurve::client {

// Looks for the highest rate that keeps an SLO: twice the last rate until one misses it, or half
// until one keeps it, then between the two until they are within kPrecision of each other. Rates
// beyond a factor of kReach from the first one are not tried.
class RateSearch {
 public:
  static constexpr double kPrecision = 1.05;
  static constexpr double kReach = 1024;

  explicit RateSearch(double first) : first_(first), next_(first) {}

  // The rate to try; none when the search is over.
  std::optional<double> next() const { return next_; }
  // What became of it.
  void Tell(bool met);
  // The highest rate that kept the SLO so far.
  std::optional<double> best() const { return met_; }

 private:
  std::optional<double> Choose() const;

  const double first_;
  std::optional<double> next_;
  std::optional<double> met_;     // the highest
  std::optional<double> missed_;  // the lowest
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_RATE_SEARCH_H_
