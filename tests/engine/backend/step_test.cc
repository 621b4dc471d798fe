// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/step.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace recurve {
namespace {

constexpr StepShape kThree = {.recursions = 3, .shared_kv = 0};
constexpr StepShape kShared = {.recursions = 3, .shared_kv = 1};

Outcome Ran(uint32_t ran, uint32_t rows = 0, uint32_t active = 0, uint32_t flags = 0) {
  Outcome outcome;
  outcome.ran = ran;
  outcome.rows = rows;
  outcome.active = active;
  outcome.flags = flags;
  return outcome;
}

bool Equal(const SlotState& a, const SlotState& b) {
  return a.stage == b.stage && a.recursion == b.recursion && a.position == b.position &&
         a.rows == b.rows && a.active == b.active &&
         std::equal(std::begin(a.count), std::end(a.count), std::begin(b.count));
}

TEST(StepShape, NumbersGroups) {
  EXPECT_EQ(kThree.groups(), 5U);
  EXPECT_EQ(kThree.exit_group(), 4U);
  EXPECT_EQ(kThree.group(2), 2U);
  EXPECT_TRUE(kThree.appends(3));
  EXPECT_EQ(kShared.groups(), 3U);
  EXPECT_EQ(kShared.group(3), 1U);
  EXPECT_TRUE(kShared.appends(1));
  EXPECT_FALSE(kShared.appends(2));
}

TEST(Resolve, CarriesAPromptThroughAllStages) {
  const SlotLimits limits = {.prompt = 5, .end = 8, .room = 9, .chunk = 4};
  SlotState s;
  s.stage = Stage::kEntry;
  s = Resolve(s, Ran(kRanEntry | kRanBlock, 4, 3), limits, kThree);
  EXPECT_EQ(s.stage, Stage::kBlock);
  EXPECT_EQ(s.recursion, 2U);
  EXPECT_EQ(s.rows, 4U);
  EXPECT_EQ(s.active, 3U);
  EXPECT_EQ(s.count[0], 4U);
  EXPECT_EQ(s.count[1], 4U);
  s = Resolve(s, Ran(kRanBlock, 0, 1), limits, kThree);
  EXPECT_EQ(s.recursion, 3U);
  EXPECT_EQ(s.count[2], 3U);
  s = Resolve(s, Ran(kRanBlock, 0, 1), limits, kThree);  // nothing follows the last recursion
  EXPECT_EQ(s.stage, Stage::kExit);
  EXPECT_EQ(s.active, 0U);
  EXPECT_EQ(s.count[3], 1U);
  s = Resolve(s, Ran(kRanExit), limits, kThree);
  EXPECT_EQ(s.stage, Stage::kEntry);
  EXPECT_EQ(s.position, 4U);
  EXPECT_EQ(s.rows, 0U);
  EXPECT_EQ(s.count[4], 4U);
}

TEST(Resolve, EndsAtTheEndAndAtAStopId) {
  const SlotLimits limits = {.prompt = 2, .end = 3, .room = 3, .chunk = 2};
  SlotState s;
  s.stage = Stage::kExit;
  s.position = 2;
  s.rows = 1;
  EXPECT_EQ(Resolve(s, Ran(kRanExit), limits, kThree).stage, Stage::kNone);
  s.position = 1;
  EXPECT_EQ(Resolve(s, Ran(kRanExit), limits, kThree).stage, Stage::kEntry);
  EXPECT_EQ(Resolve(s, Ran(kRanExit, 0, 0, kStopId), limits, kThree).stage, Stage::kNone);
  EXPECT_EQ(Resolve(s, Ran(kRanExit, 0, 0, kNotFinite), limits, kThree).stage, Stage::kNone);
}

TEST(Resolve, IgnoresSurplusRowsOfASlotThatStopped) {
  const SlotLimits limits = {.prompt = 2, .end = 9, .room = 9, .chunk = 2};
  SlotState s;
  s.stage = Stage::kExit;
  s.position = 1;
  s.rows = 1;
  const SlotState stopped = Resolve(s, Ran(kRanExit, 0, 0, kStopId), limits, kThree);
  EXPECT_TRUE(Equal(
      Resolve(s, Ran(kRanExit | kRanEntry | kRanBlock, 1, 1, kStopId), limits, kThree), stopped));
  EXPECT_TRUE(Equal(Resolve(stopped, Ran(kRanEntry | kRanBlock, 1, 1), limits, kThree), stopped));
}

TEST(Resolve, SharedKvAppendsAtRecursionOneAlone) {
  const SlotLimits limits = {.prompt = 3, .end = 5, .room = 5, .chunk = 3};
  SlotState s;
  s.stage = Stage::kEntry;
  s = Resolve(s, Ran(kRanEntry | kRanBlock, 3, 2), limits, kShared);
  EXPECT_EQ(s.count[1], 3U);
  s = Resolve(s, Ran(kRanBlock, 0, 2), limits, kShared);
  EXPECT_EQ(s.count[1], 3U);
  EXPECT_EQ(s.count[2], 0U);  // the exit group
}

// One Resolve a step, or one for each thing that the step ran: the same state.
TEST(Resolve, MayBeAppliedPartByPart) {
  std::mt19937 engine(1);
  const auto below = [&engine](uint32_t limit) { return static_cast<uint32_t>(engine() % limit); };
  for (int round = 0; round < 2000; ++round) {
    const StepShape& shape = below(2) == 0 ? kThree : kShared;
    const SlotLimits limits = {.prompt = 1 + below(6), .end = below(9), .room = 12, .chunk = 4};
    SlotState s;
    s.stage = static_cast<Stage>(below(4));
    s.recursion = 1 + below(3);
    s.position = below(8);
    s.rows = s.stage == Stage::kEntry ? 0 : 1 + below(4);
    s.active = s.stage == Stage::kBlock ? 1 + below(s.rows) : 0;
    const Outcome whole = Ran(below(8), 1 + below(4), below(2), below(2));
    SlotState parts = s;
    for (const uint32_t bit : {kRanExit, kRanEntry, kRanBlock}) {
      Outcome part = whole;
      part.ran &= bit;
      parts = Resolve(parts, part, limits, shape);
    }
    EXPECT_TRUE(Equal(Resolve(s, whole, limits, shape), parts)) << "round " << round;
  }
}

TEST(SpanRows, IsBoundedByPromptChunkAndRoom) {
  SlotLimits limits = {.prompt = 10, .end = 20, .room = 30, .chunk = 4};
  SlotState s;
  s.stage = Stage::kEntry;
  EXPECT_EQ(SpanRows(s, limits), 4U);
  s.position = 8;
  EXPECT_EQ(SpanRows(s, limits), 2U);
  s.position = 10;
  EXPECT_EQ(SpanRows(s, limits), 1U);
  limits.room = 10;
  EXPECT_EQ(SpanRows(s, limits), 0U);
  s.position = 8;
  limits.room = 9;
  EXPECT_EQ(SpanRows(s, limits), 1U);
  limits.room = 3;
  EXPECT_EQ(SpanRows(s, limits), 0U);
}

TEST(Pending, IsWhatTheSpanMayStillAppend) {
  SlotState s;
  s.stage = Stage::kBlock;
  s.recursion = 2;
  s.rows = 4;
  s.active = 3;
  EXPECT_EQ(Pending(s, 0, kThree), 0U);
  EXPECT_EQ(Pending(s, 1, kThree), 0U);
  EXPECT_EQ(Pending(s, 2, kThree), 3U);
  EXPECT_EQ(Pending(s, 3, kThree), 3U);
  EXPECT_EQ(Pending(s, 4, kThree), 4U);
  EXPECT_EQ(Pending(s, 1, kShared), 0U);
  EXPECT_EQ(Pending(s, 2, kShared), 4U);
  s.recursion = 1;
  EXPECT_EQ(Pending(s, 1, kShared), 3U);
  s.stage = Stage::kExit;
  s.active = 0;
  EXPECT_EQ(Pending(s, 3, kThree), 0U);
  EXPECT_EQ(Pending(s, 4, kThree), 4U);
  s.stage = Stage::kEntry;
  s.rows = 0;
  EXPECT_EQ(Pending(s, 4, kThree), 0U);
}

TEST(Samples, WhenTheSpanReachesTheLastGivenToken) {
  const SlotLimits limits = {.prompt = 5, .end = 7, .room = 7, .chunk = 4};
  SlotState s;
  s.stage = Stage::kExit;
  s.rows = 4;
  EXPECT_FALSE(Samples(s, limits));
  s.position = 1;
  EXPECT_TRUE(Samples(s, limits));
  const SlotLimits none = {.prompt = 5, .end = 4, .room = 5, .chunk = 4};  // no new tokens
  EXPECT_FALSE(Samples(s, none));
}

}  // namespace
}  // namespace recurve
