// SPDX-License-Identifier: Apache-2.0
#include "client/load/statistics.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

TEST(StatisticsTest, PercentilesAreOfTheNearestRank) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Summary summary = Summarize(values);
  EXPECT_EQ(summary.count, 100U);
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.p50, 50);
  EXPECT_EQ(summary.p90, 90);
  EXPECT_EQ(summary.p95, 95);
  EXPECT_EQ(summary.p99, 99);
  EXPECT_EQ(summary.max, 100);
  EXPECT_EQ(summary.p99_9, 100);
  EXPECT_DOUBLE_EQ(summary.mean, 50.5);
  EXPECT_DOUBLE_EQ(summary.stddev, std::sqrt((100.0 * 100 - 1) / 12));
}

TEST(StatisticsTest, FewValues) {
  EXPECT_EQ(Summarize({}).count, 0U);
  EXPECT_EQ(Summarize({}).p99, 0);
  const Summary one = Summarize({7});
  EXPECT_EQ(one.p50, 7);
  EXPECT_EQ(one.p99, 7);
  const Summary three = Summarize({3, 1, 2});
  EXPECT_EQ(one.stddev, 0);
  EXPECT_EQ(three.p50, 2);
  EXPECT_EQ(three.p90, 3);
}

}  // namespace
}  // namespace recurve::client
