// SPDX-License-Identifier: Apache-2.0
#include "engine/step_statistics.h"

#include <algorithm>

namespace recurve {
namespace {

StepTotals::Histogram SecondsHistogram() {
  StepTotals::Histogram histogram;
  histogram.bounds = {.00001, .00003, .0001, .0003, .001, .0025, .005, .01, .025,
                      .05,    .1,     .25,   .5,    1,    2.5,   5,    10};
  histogram.counts.resize(histogram.bounds.size() + 1);
  return histogram;
}

StepTotals::Histogram CountHistogram() {
  StepTotals::Histogram histogram;
  histogram.bounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  histogram.counts.resize(histogram.bounds.size() + 1);
  return histogram;
}

void Observe(double value, StepTotals::Histogram& histogram) {
  const auto bucket = std::lower_bound(histogram.bounds.begin(), histogram.bounds.end(), value);
  ++histogram.counts[static_cast<size_t>(bucket - histogram.bounds.begin())];
  histogram.sum += value;
}

}  // namespace

StepStatistics::StepStatistics() {
  static_assert(StepTotals::kParts == kStepParts);
  totals_.seconds = SecondsHistogram();
  totals_.batch_tokens = totals_.batch_sequences = CountHistogram();
  for (StepTotals::Histogram& histogram : totals_.part_step_seconds) {
    histogram = SecondsHistogram();
  }
}

void StepStatistics::Add(const StepResult& result) {
  ++totals_.count;
  double step_seconds = 0;
  for (int part = 0; part < StepTotals::kParts; ++part) {
    const double seconds = static_cast<double>(result.part_ns[part]) * 1e-9;
    step_seconds += seconds;
    totals_.part_rows[part] += result.part_rows[part];
    totals_.part_seconds[part] += seconds;
    if (result.part_rows[part] > 0) Observe(seconds, totals_.part_step_seconds[part]);
  }
  Observe(step_seconds, totals_.seconds);
  Observe(result.part_rows[kPartBlock], totals_.batch_tokens);
  Observe(static_cast<double>(result.outcomes.size()), totals_.batch_sequences);
}

}  // namespace recurve
