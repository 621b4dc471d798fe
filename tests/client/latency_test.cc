// SPDX-License-Identifier: Apache-2.0
#include "client/cli/latency.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

v1::Histogram MakeHistogram(const std::vector<uint64_t>& counts, double sum) {
  v1::Histogram histogram;
  for (const double bound : {1.0, 2.0, 4.0}) histogram.add_bounds(bound);
  histogram.mutable_counts()->Assign(counts.begin(), counts.end());
  histogram.set_sum(sum);
  return histogram;
}

TEST(LatencyTest, QuantilesAreSpreadEvenlyInTheirBucket) {
  const Latency latency({}, MakeHistogram({2, 0, 2, 0}, 10));
  EXPECT_EQ(latency.count(), 4);
  EXPECT_EQ(latency.Mean(), 2.5);
  EXPECT_EQ(latency.Quantile(0.25), 0.5);
  EXPECT_EQ(latency.Quantile(0.5), 1.0);
  EXPECT_EQ(latency.Quantile(0.75), 3.0);
  EXPECT_EQ(latency.Quantile(1.0), 4.0);
}

TEST(LatencyTest, OnlyWhatIsNewCounts) {
  const Latency latency(MakeHistogram({5, 1, 0, 0}, 6), MakeHistogram({5, 3, 0, 0}, 9));
  EXPECT_EQ(latency.count(), 2);
  EXPECT_EQ(latency.Mean(), 1.5);
  EXPECT_EQ(latency.Quantile(0.5), 1.5);
}

TEST(LatencyTest, NothingNewHasNoFigures) {
  const v1::Histogram histogram = MakeHistogram({5, 1, 0, 0}, 6);
  const Latency latency(histogram, histogram);
  EXPECT_EQ(latency.count(), 0);
  EXPECT_FALSE(latency.Mean().has_value());
  EXPECT_FALSE(latency.Quantile(0.5).has_value());
}

TEST(LatencyTest, AServerThatStartedAnewCountsWhole) {
  EXPECT_EQ(Latency(MakeHistogram({5, 1, 0, 0}, 6), MakeHistogram({0, 2, 0, 0}, 3)).count(), 2);
  v1::Histogram other = MakeHistogram({9, 9, 9, 9}, 6);
  other.set_bounds(0, 0.5);
  EXPECT_EQ(Latency(MakeHistogram({5, 1, 0, 0}, 6), other).count(), 36);
}

TEST(LatencyTest, AboveEveryBound) {
  const Latency latency({}, MakeHistogram({0, 0, 0, 1}, 100));
  EXPECT_TRUE(std::isinf(*latency.Quantile(0.5)));
  EXPECT_EQ(latency.largest_bound(), 4.0);
}

TEST(LatencyTest, HistogramsOfTheWrongShapeAreLeftOut) {
  v1::Histogram histogram = MakeHistogram({1, 1}, 2);
  EXPECT_EQ(Latency({}, histogram).count(), 0);
  EXPECT_EQ(Latency({}, {}).count(), 0);
}

}  // namespace
}  // namespace recurve::client
