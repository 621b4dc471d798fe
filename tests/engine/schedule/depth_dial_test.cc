// SPDX-License-Identifier: Apache-2.0
// The dial alone, and the caps of one sequence alone.
#include "engine/schedule/depth_dial.h"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "engine/schedule/depth_caps.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr milliseconds kGoal(100);
constexpr milliseconds kCalm = DepthDial::kCalmGoals * kGoal;

class DepthDialTest : public testing::Test {
 protected:
  // Plans every `step` for `time`, while the longest wait is `wait`.
  void Run(milliseconds time, milliseconds wait, milliseconds step = milliseconds(10)) {
    for (const SteadyTime end = now_ + time; now_ < end; now_ += step) dial_.Turn(now_, wait);
  }

  SteadyTime now_ = SteadyTime() + std::chrono::hours(1);
  DepthDial dial_{4, kGoal};
};

TEST_F(DepthDialTest, FallsByOneEachGoalWhileTheQueueTimeIsAboveIt) {
  EXPECT_EQ(dial_.cap(), 4U);
  dial_.Turn(now_, kGoal + milliseconds(1));
  EXPECT_EQ(dial_.cap(), 3U);
  dial_.Turn(now_ + kGoal - milliseconds(1), 3 * kGoal);
  EXPECT_EQ(dial_.cap(), 3U);
  dial_.Turn(now_ + kGoal, 3 * kGoal);
  EXPECT_EQ(dial_.cap(), 2U);
}

TEST_F(DepthDialTest, EndsAtOneAndAtAllRecursions) {
  Run(100 * kGoal, 2 * kGoal);
  EXPECT_EQ(dial_.cap(), 1U);
  Run(100 * kGoal, milliseconds(0));
  EXPECT_EQ(dial_.cap(), 4U);
}

TEST_F(DepthDialTest, RisesByOneAfterEachCalmTime) {
  Run(2 * kGoal, 2 * kGoal);
  ASSERT_EQ(dial_.cap(), 2U);
  const SteadyTime calm = now_;
  dial_.Turn(calm, kGoal / 2 - milliseconds(1));
  dial_.Turn(calm + kCalm - milliseconds(1), milliseconds(0));
  EXPECT_EQ(dial_.cap(), 2U);
  dial_.Turn(calm + kCalm, milliseconds(0));
  EXPECT_EQ(dial_.cap(), 3U);
  dial_.Turn(calm + 2 * kCalm - milliseconds(1), milliseconds(0));
  EXPECT_EQ(dial_.cap(), 3U);
  dial_.Turn(calm + 2 * kCalm, milliseconds(0));
  EXPECT_EQ(dial_.cap(), 4U);
}

TEST_F(DepthDialTest, StaysWhileTheQueueTimeIsBetweenItsMarks) {
  Run(kGoal, 2 * kGoal);
  const uint32_t cap = dial_.cap();
  ASSERT_EQ(cap, 3U);
  for (const milliseconds wait : {kGoal / 2, 3 * kGoal / 4, kGoal}) {
    Run(10 * kCalm, wait);
    EXPECT_EQ(dial_.cap(), cap) << wait.count();
  }
}

TEST_F(DepthDialTest, ACalmTimeCountsOnlyWhole) {
  Run(kGoal, 2 * kGoal);
  ASSERT_EQ(dial_.cap(), 3U);
  for (int i = 0; i < 20; ++i) {
    Run(kCalm - 2 * kGoal, milliseconds(0));
    Run(kGoal, 3 * kGoal / 4);
  }
  EXPECT_EQ(dial_.cap(), 3U);
}

TEST_F(DepthDialTest, AnIdleTimeWithoutPlansIsCalm) {
  Run(100 * kGoal, 2 * kGoal);
  dial_.Turn(now_, milliseconds(0));
  ASSERT_EQ(dial_.cap(), 1U);
  dial_.Turn(now_ + 2 * kCalm, milliseconds(0));
  EXPECT_EQ(dial_.cap(), 3U);
}

TEST(DepthDialWithoutAGoalTest, IsNotTurned) {
  const DepthDial dial(4, std::nullopt);
  EXPECT_FALSE(dial.has_goal());
  EXPECT_EQ(dial.cap(), 4U);
}

std::vector<std::pair<uint32_t, uint32_t>> Sent(const DepthCaps& caps, uint32_t position) {
  std::vector<CapChange> changes;
  EXPECT_EQ(caps.Append(7, position, 100, /*most=*/100, changes), 100U);
  std::vector<std::pair<uint32_t, uint32_t>> sent;
  for (const CapChange& change : changes) {
    EXPECT_EQ(change.slot, 7U);
    sent.emplace_back(change.position, change.cap);
  }
  return sent;
}

TEST(DepthCapsTest, WithoutALimitAreTheSamplesOwn) {
  const DepthCaps none({}, 4);
  EXPECT_EQ(none.At(5), 4U);
  EXPECT_EQ(none.FirstLowered(), DepthCaps::kNowhere);
  EXPECT_THAT(Sent(none, 0), IsEmpty());
  const DepthCaps own({{2, 3}, {8, 1}}, 4);
  EXPECT_EQ(own.At(1), 4U);
  EXPECT_EQ(own.At(2), 3U);
  EXPECT_EQ(own.At(9), 1U);
  EXPECT_THAT(Sent(own, 0), ElementsAre(Pair(2, 3), Pair(8, 1)));
  EXPECT_THAT(Sent(own, 3), ElementsAre(Pair(8, 1)));
}

TEST(DepthCapsTest, ALimitNeverRaisesACap) {
  DepthCaps caps({{0, 2}, {10, 4}, {20, 1}}, 4);
  EXPECT_TRUE(caps.Limit(5, 3));
  EXPECT_EQ(caps.At(5), 2U);
  EXPECT_EQ(caps.At(10), 3U);
  EXPECT_EQ(caps.At(20), 1U);
  EXPECT_EQ(caps.OwnAt(10), 4U);
  EXPECT_EQ(caps.FirstLowered(), 10U);
  EXPECT_THAT(Sent(caps, 5), ElementsAre(Pair(5, 2), Pair(10, 3), Pair(20, 1)));
}

TEST(DepthCapsTest, EarlierTokensKeepTheirLimits) {
  DepthCaps caps({}, 3);
  EXPECT_FALSE(caps.Limit(0, 3));
  EXPECT_TRUE(caps.Limit(4, 1));
  EXPECT_FALSE(caps.Limit(6, 1));
  EXPECT_TRUE(caps.Limit(9, 3));
  EXPECT_THAT(Sent(caps, 0), ElementsAre(Pair(4, 1), Pair(9, 3)));
  EXPECT_EQ(caps.At(3), 3U);
  EXPECT_EQ(caps.At(8), 1U);
  EXPECT_EQ(caps.At(9), 3U);
  EXPECT_EQ(caps.FirstLowered(), 4U);
}

TEST(DepthCapsTest, ALaterLimitOfTheSameTokensTakesTheirPlace) {
  DepthCaps caps({}, 3);
  caps.Limit(4, 1);
  caps.Limit(9, 2);
  EXPECT_TRUE(caps.Limit(6, 2));
  EXPECT_THAT(Sent(caps, 0), ElementsAre(Pair(4, 1), Pair(6, 2)));
  EXPECT_TRUE(caps.Limit(6, 1));  // as before it, but a backend has heard of the 2
  EXPECT_THAT(Sent(caps, 6), ElementsAre(Pair(6, 1)));
  EXPECT_TRUE(caps.Limit(4, 3));
  EXPECT_THAT(Sent(caps, 0), ElementsAre(Pair(4, 3)));
  EXPECT_EQ(caps.FirstLowered(), DepthCaps::kNowhere);
}

TEST(DepthCapsTest, WhatThereIsNoSpaceForIsLeftOut) {
  DepthCaps caps({{2, 1}, {4, 2}, {6, 1}, {9, 2}}, 3);
  caps.Limit(5, 1);
  std::vector<CapChange> changes;
  EXPECT_EQ(caps.Append(0, 3, 9, /*most=*/2, changes), 6U);
  EXPECT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].position, 4U);
  EXPECT_EQ(changes[1].position, 5U);
  EXPECT_EQ(caps.Append(0, 6, 9, /*most=*/3, changes), 9U);
  EXPECT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[2].position, 6U);
  EXPECT_EQ(caps.Append(0, 9, 8, /*most=*/3, changes), 9U) << "nothing to say";
}

}  // namespace
}  // namespace recurve
