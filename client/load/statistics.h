// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_STATISTICS_H_
#define RECURVE_CLIENT_LOAD_STATISTICS_H_

#include <cstddef>
#include <vector>

#include "client/load/histogram.h"

namespace recurve::client {

// Percentiles are of the nearest rank: the smallest value that at least p % of the values do not
// exceed. The standard deviation is that of the values themselves (over n). All zero without
// values.
struct Summary {
  size_t count = 0;
  double mean = 0, stddev = 0, min = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, p99_9 = 0, max = 0;
  std::vector<Bar> histogram{};
};
Summary Summarize(std::vector<double> values);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_STATISTICS_H_
