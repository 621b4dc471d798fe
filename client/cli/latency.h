// SPDX-License-Identifier: Apache-2.0
// What a server's histograms tell of the time between two answers.
#ifndef RECURVE_CLIENT_CLI_LATENCY_H_
#define RECURVE_CLIENT_CLI_LATENCY_H_

#include <optional>

#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// A latency's observations. Quantiles are estimated as Prometheus does: evenly spread in their
// bucket.
class Latency {
 public:
  // Of what came to `now` since `before`; of all of `now` if it does not continue `before`: counts
  // fell, bounds are others, or `before` is empty.
  Latency(const v1::Histogram& before, const v1::Histogram& now);

  double count() const { return count_; }
  // The mean; none without observations.
  std::optional<double> Mean() const;
  // `share`: 0.5 for the median. Infinite if it lies above all of the server's bounds.
  std::optional<double> Quantile(double share) const;
  // 0 if the server tells no buckets.
  double largest_bound() const;

 private:
  v1::Histogram histogram_;
  double count_ = 0;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_LATENCY_H_
