// SPDX-License-Identifier: Apache-2.0
#include "engine/step_statistics.h"

#include <algorithm>

namespace recurve {
namespace {

EngineSnapshot::Histogram SecondsHistogram() {
  EngineSnapshot::Histogram histogram;
  histogram.bounds = {.00001, .00003, .0001, .0003, .001, .0025, .005, .01, .025,
                      .05,    .1,     .25,   .5,    1,    2.5,   5,    10};
  histogram.counts.resize(histogram.bounds.size() + 1);
  return histogram;
}

EngineSnapshot::Histogram CountHistogram() {
  EngineSnapshot::Histogram histogram;
  histogram.bounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  histogram.counts.resize(histogram.bounds.size() + 1);
  return histogram;
}

void Observe(double value, EngineSnapshot::Histogram& histogram) {
  const auto bucket = std::lower_bound(histogram.bounds.begin(), histogram.bounds.end(), value);
  ++histogram.counts[static_cast<size_t>(bucket - histogram.bounds.begin())];
  histogram.sum += value;
}

}  // namespace

StepStatistics::StepStatistics() {
  static_assert(EngineSnapshot::kParts == kStepParts);
  totals_.step_seconds = SecondsHistogram();
  totals_.batch_tokens = totals_.batch_sequences = CountHistogram();
  for (EngineSnapshot::Histogram& histogram : totals_.part_step_seconds) {
    histogram = SecondsHistogram();
  }
}

void StepStatistics::Add(const StepResult& result) {
  ++totals_.steps;
  double step_seconds = 0;
  for (int part = 0; part < EngineSnapshot::kParts; ++part) {
    const double seconds = static_cast<double>(result.part_ns[part]) * 1e-9;
    step_seconds += seconds;
    totals_.part_rows[part] += result.part_rows[part];
    totals_.part_seconds[part] += seconds;
    if (result.part_rows[part] > 0) Observe(seconds, totals_.part_step_seconds[part]);
  }
  Observe(step_seconds, totals_.step_seconds);
  Observe(result.part_rows[kPartBlock], totals_.batch_tokens);
  Observe(static_cast<double>(result.outcomes.size()), totals_.batch_sequences);
}

void StepStatistics::Fill(EngineSnapshot& snapshot) const {
  snapshot.steps = totals_.steps;
  std::copy(std::begin(totals_.part_rows), std::end(totals_.part_rows), snapshot.part_rows);
  std::copy(std::begin(totals_.part_seconds), std::end(totals_.part_seconds),
            snapshot.part_seconds);
  snapshot.step_seconds = totals_.step_seconds;
  snapshot.batch_tokens = totals_.batch_tokens;
  snapshot.batch_sequences = totals_.batch_sequences;
  std::copy(std::begin(totals_.part_step_seconds), std::end(totals_.part_step_seconds),
            snapshot.part_step_seconds);
}

}  // namespace recurve
