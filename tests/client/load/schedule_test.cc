// SPDX-License-Identifier: Apache-2.0
#include "client/load/schedule.h"

#include <cmath>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;

std::vector<double> Take(Schedule schedule, int count) {
  std::vector<double> starts;
  while (count-- > 0) starts.push_back(schedule.Next().value());
  return starts;
}

struct Moments {
  double mean = 0,
         variation = 0;  // of the gaps; the latter is the standard deviation over the mean
};

Moments MomentsOf(const std::vector<double>& starts) {
  double sum = 0, squares = 0, last = 0;
  for (const double start : starts) {
    const double gap = start - last;
    EXPECT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
    last = start;
  }
  const double count = static_cast<double>(starts.size());
  const double mean = sum / count;
  return {mean, std::sqrt(squares / count - mean * mean) / mean};
}

TEST(ScheduleTest, ConstantArrivalsDoNotDrift) {
  Schedule schedule = Schedule::Constant(3);
  EXPECT_EQ(schedule.Next(), 0);
  EXPECT_EQ(schedule.Next(), 1.0 / 3);
  for (int i = 2; i < 3000; ++i) schedule.Next();
  EXPECT_DOUBLE_EQ(schedule.Next().value(), 1000.0);
}

// A gamma distribution of shape k has the coefficient of variation 1 / sqrt(k). With 200,000 gaps
// the bounds are many times what chance makes of both.
TEST(ScheduleTest, GapsHaveTheirDistributionsMoments) {
  for (const double burstiness : {0.25, 1.0, 4.0}) {
    const Moments moments = MomentsOf(Take(Schedule::Gamma(50, burstiness, 1), 200000));
    EXPECT_NEAR(moments.mean, 0.02, 0.02 * 0.03) << burstiness;
    EXPECT_NEAR(moments.variation, 1 / std::sqrt(burstiness), 0.03 / std::sqrt(burstiness))
        << burstiness;
  }
}

// The number of Poisson arrivals in a time has its mean as its variance.
TEST(ScheduleTest, PoissonArrivalsAreAsManyASecondAsPoissonSays) {
  Schedule schedule = Schedule::Gamma(20, 1, 7);
  std::vector<int> seconds(5000);
  while (true) {
    const auto second = static_cast<size_t>(schedule.Next().value());
    if (second >= seconds.size()) break;
    ++seconds[second];
  }
  double sum = 0, squares = 0;
  for (const int count : seconds) {
    sum += count;
    squares += static_cast<double>(count) * count;
  }
  const double mean = sum / static_cast<double>(seconds.size());
  EXPECT_NEAR(mean, 20, 0.5);
  EXPECT_NEAR(squares / static_cast<double>(seconds.size()) - mean * mean, 20, 2);
}

TEST(ScheduleTest, ASeedSaysWhen) {
  EXPECT_EQ(Take(Schedule::Gamma(5, 2, 9), 50), Take(Schedule::Gamma(5, 2, 9), 50));
  EXPECT_NE(Take(Schedule::Gamma(5, 2, 9), 50), Take(Schedule::Gamma(5, 2, 10), 50));
}

TEST(ScheduleTest, ATraceEnds) {
  Schedule schedule = Schedule::Trace({0, 0, 1.5});
  EXPECT_THAT(Take(schedule, 3), ElementsAre(0, 0, 1.5));
  for (int i = 0; i < 3; ++i) schedule.Next();
  EXPECT_EQ(schedule.Next(), std::nullopt);
  EXPECT_EQ(schedule.Next(), std::nullopt);
}

}  // namespace
}  // namespace recurve::client
