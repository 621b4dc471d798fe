// SPDX-License-Identifier: Apache-2.0
#include "client/load/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace recurve::client {

Summary Summarize(std::vector<double> values) {
  Summary summary;
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  const auto percentile = [&values](double percent) {
    const double rank = std::ceil(percent / 100.0 * static_cast<double>(values.size()));
    return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
  };
  summary.count = values.size();
  summary.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) {
    squares += (value - summary.mean) * (value - summary.mean);
  }
  summary.stddev = std::sqrt(squares / static_cast<double>(values.size()));
  summary.min = values.front();
  summary.p50 = percentile(50);
  summary.p90 = percentile(90);
  summary.p95 = percentile(95);
  summary.p99 = percentile(99);
  summary.p99_9 = percentile(99.9);
  summary.max = values.back();
  summary.histogram = HistogramOf(values);
  return summary;
}

}  // namespace recurve::client
