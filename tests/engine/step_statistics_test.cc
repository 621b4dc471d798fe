// SPDX-License-Identifier: Apache-2.0
#include "engine/step_statistics.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

StepResult Result(uint32_t block_rows, size_t sequences, uint64_t block_ns) {
  StepResult result;
  result.part_rows[kPartBlock] = block_rows;
  result.part_ns[kPartBlock] = block_ns;
  result.outcomes.resize(sequences);
  return result;
}

// Observations up to `bound`, which is one of the histogram's.
uint64_t CountUpTo(const StepTotals::Histogram& histogram, double bound) {
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.bounds.size() && histogram.bounds[i] <= bound; ++i) {
    count += histogram.counts[i];
  }
  return count;
}

TEST(StepStatisticsTest, AddsUpSteps) {
  StepStatistics statistics;
  statistics.Add(Result(8, 3, 1'000'000));
  statistics.Add(Result(9, 1, 2'000'000));
  statistics.Add(Result(0, 1, 0));
  const StepTotals& totals = statistics.totals();
  EXPECT_EQ(totals.count, 3U);
  EXPECT_EQ(totals.part_rows[kPartBlock], 17U);
  EXPECT_NEAR(totals.part_seconds[kPartBlock], 0.003, 1e-9);
  EXPECT_NEAR(totals.seconds.sum, 0.003, 1e-9);
  EXPECT_EQ(totals.batch_tokens.sum, 17.0);
  EXPECT_EQ(CountUpTo(totals.batch_tokens, 8), 2U);  // a bound belongs to its bucket
  EXPECT_EQ(CountUpTo(totals.batch_tokens, 16), 3U);
  EXPECT_EQ(totals.batch_sequences.sum, 5.0);
  EXPECT_EQ(CountUpTo(totals.batch_sequences, 1), 2U);
  EXPECT_EQ(CountUpTo(totals.batch_sequences, 4), 3U);
}

TEST(StepStatisticsTest, TimesOfAPartAreThoseOfStepsThatRanIt) {
  StepStatistics statistics;
  statistics.Add(Result(8, 3, 2'000'000));
  statistics.Add(Result(0, 1, 0));
  const StepTotals& totals = statistics.totals();
  EXPECT_EQ(CountUpTo(totals.part_step_seconds[kPartBlock], 10), 1U);
  EXPECT_EQ(CountUpTo(totals.part_step_seconds[kPartExit], 10), 0U);
  EXPECT_EQ(CountUpTo(totals.seconds, 10), 2U);
}

}  // namespace
}  // namespace recurve
