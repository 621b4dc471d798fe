// SPDX-License-Identifier: Apache-2.0
// Which requests start when, at times that the test says.
#include "client/load/pacing.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

LoadShape Closed(uint32_t streams, Extent warmup, Extent measured) {
  return {std::nullopt, streams, warmup, measured};
}

LoadShape Open(double rate, uint32_t max_in_flight, Extent warmup, Extent measured) {
  return {Schedule::Constant(rate), max_in_flight, warmup, measured};
}

constexpr Extent kNone = {.requests = 0};

TEST(PacingTest, AClosedLoopKeepsItsStreamsBusy) {
  Pacing pacing(Closed(2, kNone, {.requests = 3}));
  const auto first = pacing.Take(0.5);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->index, 0U);
  EXPECT_EQ(first->intended, 0.5);  // its sending
  EXPECT_TRUE(pacing.Take(0.6).has_value());
  EXPECT_FALSE(pacing.Take(0.7).has_value());
  EXPECT_EQ(pacing.next_start(), std::nullopt);  // until one ends
  pacing.Ended();
  const auto third = pacing.Take(2);
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->index, 2U);
  EXPECT_EQ(third->intended, 2);
  EXPECT_FALSE(pacing.has_next());
  pacing.Ended();
  EXPECT_FALSE(pacing.is_over());
  pacing.Ended();
  EXPECT_TRUE(pacing.is_over());
  EXPECT_EQ(pacing.measured_from(), 0.5);
  EXPECT_EQ(pacing.measured_until(), std::nullopt);
}

TEST(PacingTest, AnOpenLoopStartsWhenItsScheduleSays) {
  Pacing pacing(Open(4, 100, kNone, {.requests = 3}));
  EXPECT_EQ(pacing.next_start(), 0);
  EXPECT_TRUE(pacing.Take(0).has_value());
  EXPECT_FALSE(pacing.Take(0.2).has_value());
  EXPECT_EQ(pacing.next_start(), 0.25);
  // Late, as one that was sent late: the intended start stays, and the next one is due as well.
  EXPECT_EQ(pacing.Take(0.6)->intended, 0.25);
  EXPECT_EQ(pacing.Take(0.6)->intended, 0.5);
  EXPECT_FALSE(pacing.has_next());
}

TEST(PacingTest, RequestsThatAreDueWaitForAPlace) {
  Pacing pacing(Open(10, 1, kNone, {.requests = 3}));
  EXPECT_TRUE(pacing.Take(0).has_value());
  EXPECT_FALSE(pacing.Take(5).has_value());
  EXPECT_EQ(pacing.next_start(), std::nullopt);
  EXPECT_TRUE(pacing.has_next());
  pacing.Ended();
  EXPECT_EQ(pacing.next_start(), 0.1);
  EXPECT_EQ(pacing.Take(5)->intended, 0.1);
}

TEST(PacingTest, TheWarmupRunsIntoTheMeasuredPart) {
  Pacing pacing(Closed(2, {.requests = 3}, {.requests = 2}));
  std::vector<bool> measured;
  for (int now = 0; pacing.has_next(); ++now) {
    if (const auto start = pacing.Take(now)) measured.push_back(start->is_measured);
    if (measured.size() > 1) pacing.Ended();
  }
  EXPECT_THAT(measured, testing::ElementsAre(false, false, false, true, true));
  EXPECT_EQ(pacing.measured_from(), 3);
}

TEST(PacingTest, PartsOfATimeTakeWhatIsIntendedInThem) {
  Pacing pacing(Open(2, 100, {.seconds = 1}, {.seconds = 1.5}));
  std::vector<std::pair<double, bool>> starts;
  while (const auto start = pacing.Take(99)) {  // all of it is late
    starts.emplace_back(start->intended, start->is_measured);
  }
  EXPECT_THAT(starts, testing::ElementsAre(std::pair(0.0, false), std::pair(0.5, false),
                                           std::pair(1.0, true), std::pair(1.5, true),
                                           std::pair(2.0, true)));
  EXPECT_FALSE(pacing.has_next());
  EXPECT_EQ(pacing.measured_from(), 1);
  EXPECT_EQ(pacing.measured_until(), 2.5);
}

TEST(PacingTest, AClosedLoopOfATimeEndsWithIt) {
  Pacing pacing(Closed(1, kNone, {.seconds = 10}));
  EXPECT_TRUE(pacing.Take(3).has_value());
  EXPECT_FALSE(pacing.Take(14).has_value());  // its stream is busy
  EXPECT_TRUE(pacing.has_next());
  pacing.Ended();
  EXPECT_FALSE(pacing.Take(14).has_value());
  EXPECT_TRUE(pacing.is_over());
  EXPECT_EQ(pacing.measured_until(), 13);
}

TEST(PacingTest, AWarmupOfATimeBeforeANumberOfRequests) {
  Pacing pacing(Open(1, 100, {.seconds = 2}, {.requests = 1}));
  std::vector<bool> measured;
  while (const auto start = pacing.Take(99)) measured.push_back(start->is_measured);
  EXPECT_THAT(measured, testing::ElementsAre(false, false, true));
}

TEST(PacingTest, ATraceMayEndFirst) {
  Pacing pacing({Schedule::Trace({0, 1}), 100, kNone, {.requests = 5}});
  EXPECT_TRUE(pacing.Take(9).has_value());
  EXPECT_TRUE(pacing.Take(9).has_value());
  EXPECT_FALSE(pacing.has_next());
}

TEST(PacingTest, AfterAStopNothingStarts) {
  Pacing pacing(Closed(5, kNone, {.requests = 5}));
  EXPECT_TRUE(pacing.Take(0).has_value());
  pacing.Stop();
  EXPECT_FALSE(pacing.Take(1).has_value());
  EXPECT_FALSE(pacing.is_over());
  pacing.Ended();
  EXPECT_TRUE(pacing.is_over());
}

}  // namespace
}  // namespace recurve::client
