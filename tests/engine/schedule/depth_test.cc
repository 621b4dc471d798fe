// SPDX-License-Identifier: Apache-2.0
// Which tokens run under the dial's cap, and what is said of it.
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr milliseconds kGoal(10);

// Three recursions, and every token takes all that it may.
class DepthTest : public ScheduleFixture {
 protected:
  DepthTest() {
    model_.shape = {3, 0};
    options_.entries_per_page = {4, 4, 4, 4, 4};
    options_.limits.slots = 2;
    options_.queue_time_goal = kGoal;
  }

  // Its index in recorders_ is its id.
  size_t AddAdaptive(uint32_t prompt, uint32_t max_tokens, uint32_t least = 1,
                     std::vector<DepthCap> caps = {}) {
    ScheduledSample sample = MakeSample(prompt, max_tokens);
    const size_t id = sample.id;
    sample.adaptive_min = least;
    sample.caps = std::move(caps);
    EXPECT_TRUE(schedule_->Add(std::move(sample)).ok());
    return id;
  }
  // Fills both slots for long, then has others wait; the first plan after it lowers the cap.
  void Overload() {
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(Add(1, 40).ok());
    Step();
    clock_.now += kGoal + milliseconds(1);
  }
  std::vector<std::pair<uint32_t, uint32_t>> CapsOf(uint32_t slot) const {
    std::vector<std::pair<uint32_t, uint32_t>> caps;
    for (const CapChange& change : plan_.caps) {
      if (change.slot == slot) caps.emplace_back(change.position, change.cap);
    }
    return caps;
  }
  void Finish() {
    while (schedule_->HasWork()) Step();
  }
};

TEST_F(DepthTest, ARunningSequenceIsLoweredFromItsRoomOn) {
  Start();
  const size_t id = AddAdaptive(1, 30);
  for (int i = 0; i < 7; ++i) Step();  // three a token: position 2 is in the block
  ASSERT_EQ(told(id).token_depths, (std::vector<uint32_t>{3, 3}));
  Overload();
  const uint32_t position = 4;  // its room: one token ahead
  while (CapsOf(0).empty()) Step();
  EXPECT_THAT(CapsOf(0), ElementsAre(Pair(position, 2)));
  EXPECT_EQ(RoomOf(0), position + 1);
  clock_.now += kGoal;
  Step();
  while (CapsOf(0).empty()) Step();
  EXPECT_THAT(CapsOf(0), ElementsAre(Pair(testing::Gt(position), 1)));
  Finish();
  const std::vector<uint32_t>& depths = told(id).token_depths;
  EXPECT_THAT(std::vector<uint32_t>(depths.begin(), depths.begin() + 4), Each(3U));
  EXPECT_EQ(depths[position], 2U);
  EXPECT_EQ(depths.back(), 1U);
  EXPECT_EQ(told(id).ending.lowered_tokens, 26U);  // of 30
  EXPECT_EQ(told(id).ending.lowest_cap, 1U);
}

TEST_F(DepthTest, OthersKeepTheirDepth) {
  Start();
  Overload();
  const size_t id = AddAdaptive(5, 10);
  Finish();
  for (size_t other = 0; other < id; ++other) {
    EXPECT_THAT(told(other).token_depths, Each(3U));
    EXPECT_EQ(told(other).ending.lowered_tokens, 0U);
    EXPECT_EQ(told(other).ending.lowest_cap, 0U);
  }
  EXPECT_EQ(told(id).ending.lowered_tokens, 14U);
  EXPECT_EQ(schedule_->counters().lowered_tokens, 14U);
}

TEST_F(DepthTest, ANewSequenceBeginsUnderThePresentCap) {
  Start();
  Overload();
  Step();
  ASSERT_EQ(schedule_->counters().depth_cap, 2U);
  const size_t id = AddAdaptive(6, 2);
  schedule_->Cancel(0);
  schedule_->Cancel(2);
  schedule_->Cancel(3);
  schedule_->Cancel(4);
  schedule_->Cancel(5);
  Step();
  ASSERT_EQ(told(id).started, 1);
  EXPECT_THAT(CapsOf(0), ElementsAre(Pair(0, 2)));
  Finish();
  EXPECT_THAT(told(id).prompt_depths, ElementsAre(2, 2, 2, 2, 2, 2));
  EXPECT_THAT(told(id).token_depths, ElementsAre(2, 2));
  EXPECT_EQ(told(id).ending.lowered_tokens, 7U);
  EXPECT_EQ(told(id).ending.lowest_cap, 2U);
  EXPECT_EQ(schedule_->counters().recursions_given_up, 7U);
}

TEST_F(DepthTest, ASamplesOwnCapAndItsLeastAreKept) {
  Start();
  const size_t capped = AddAdaptive(1, 30, 1, {{0, 2}});
  const size_t careful = AddAdaptive(1, 30, 2);
  Step();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Add(1, 40).ok());
  clock_.now += kGoal + milliseconds(1);
  Step();
  EXPECT_EQ(schedule_->counters().depth_cap, 2U);
  for (int i = 0; i < 9; ++i) Step();
  EXPECT_THAT(told(capped).token_depths, Each(2U));
  clock_.now += kGoal;
  Finish();
  EXPECT_EQ(told(capped).token_depths.back(), 1U);
  EXPECT_EQ(told(capped).ending.lowest_cap, 1U);
  // Under the cap of 2 it ran as it had asked.
  EXPECT_LT(told(capped).ending.lowered_tokens, 29U);
  EXPECT_EQ(told(careful).token_depths.back(), 2U);
  EXPECT_EQ(told(careful).ending.lowest_cap, 2U);
}

TEST_F(DepthTest, APreemptedSequenceIsComputedAgainWithTheCapsItHad) {
  options_.limits.slots = 1;
  Start();
  const size_t id = AddAdaptive(1, 12);
  for (int i = 0; i < 10; ++i) Step();
  ASSERT_TRUE(Add(1, 2).ok());
  clock_.now += kGoal + milliseconds(1);
  while (told(id).token_depths.size() < 6) Step();
  ASSERT_THAT(told(id).token_depths, Contains(2U));
  const std::vector<uint32_t> before = told(id).token_depths;

  // One of high priority puts it back; meanwhile the queue is empty for long.
  ASSERT_TRUE(schedule_->Cancel(1));
  ScheduledSample high = MakeSample(1, 2);
  high.priority = Priority::kHigh;
  ASSERT_TRUE(schedule_->Add(high).ok());
  Step();
  ASSERT_EQ(schedule_->counters().preemptions_for_priority, 1U);
  clock_.now += DepthDial::kCalmGoals * kGoal;
  while (schedule_->counters().depth_cap < 3) Step();
  std::vector<std::pair<uint32_t, uint32_t>> sent;
  while (told(id).ended == 0) {
    Step();
    if (!plan_.admits.empty()) sent.clear();
    for (const auto& cap : CapsOf(0)) sent.push_back(cap);
  }
  // Full depth, then the cap of that time, and full depth again from the first new row on.
  const auto lowered_at =
      static_cast<uint32_t>(std::find(before.begin(), before.end(), 2U) - before.begin());
  const auto told_rows = static_cast<uint32_t>(before.size());
  EXPECT_THAT(sent, ElementsAre(Pair(lowered_at, 2), Pair(told_rows, 3)));
  EXPECT_TRUE(told(id).in_order);
  EXPECT_EQ(told(id).ending.preemptions, 1U);
  EXPECT_EQ(told(id).ending.lowered_tokens, told_rows - lowered_at);
  EXPECT_EQ(told(id).token_depths.back(), 3U);
}

class LoweredPrefixTest : public DepthTest {
 protected:
  LoweredPrefixTest() {
    options_.limits.chunk = 2;
    options_.limits.pages = 1000;
    options_.prefix_node_tokens = 2;
  }

  // Has the prompt of the only running sequence lowered to two recursions from some chunk on.
  void LowerInPrompt(size_t id) {
    Overload();
    while (Lowered(id) == told(id).prompt_depths.size()) Step();
    ASSERT_GT(Lowered(id), 2U);
    ASSERT_LT(Lowered(id), 14U);
  }
  // The first row of the prompt that did not run all recursions.
  uint32_t Lowered(size_t id) const {
    const std::vector<uint32_t>& depths = told(id).prompt_depths;
    return static_cast<uint32_t>(std::find(depths.begin(), depths.end(), 2U) - depths.begin());
  }
};

TEST_F(LoweredPrefixTest, EndsBeforeTheFirstLoweredCap) {
  Start();
  const size_t id = AddAdaptive(16, 2);
  for (int i = 0; i < 4; ++i) Step();
  LowerInPrompt(id);
  Finish();
  // Another one with this prompt takes what ran at full depth, and runs the rest so.
  ASSERT_TRUE(Add(16, 2).ok());
  Finish();
  EXPECT_EQ(told(id + 7).ending.cached_tokens, Lowered(id));
  EXPECT_THAT(told(id + 7).prompt_depths, Each(3U));
  EXPECT_THAT(told(id + 7).token_depths, Each(3U));
}

TEST_F(LoweredPrefixTest, IsNotTakenForTokensThatRanUnderALoweredCap) {
  Start();
  const size_t id = AddAdaptive(16, 2);
  for (int i = 0; i < 4; ++i) Step();
  LowerInPrompt(id);
  // Two of high priority put it back, and one of them stores the whole prompt.
  for (int i = 0; i < 2; ++i) {
    ScheduledSample high = MakeSample(16, 2);
    high.priority = Priority::kHigh;
    ASSERT_TRUE(schedule_->Add(high).ok());
  }
  uint32_t taken = 0;  // by the last admission with caps
  while (told(id).ended == 0) {
    Step();
    for (const Admission& admission : plan_.admits) {
      if (!CapsOf(admission.slot).empty()) taken = admission.state.position;
    }
  }
  EXPECT_GE(told(id).ending.preemptions, 1U);
  EXPECT_EQ(taken, Lowered(id));
  EXPECT_TRUE(told(id).in_order);
  EXPECT_THAT(told(id + 7).prompt_depths, Each(3U));
  Finish();
}

TEST_F(LoweredPrefixTest, IsAwaitedNoLonger) {
  Start();
  const size_t id = AddAdaptive(16, 20);
  Step();
  ASSERT_TRUE(Add(16, 2).ok());  // waits for the whole prompt of the first
  Step();
  ASSERT_EQ(told(id + 1).started, 0);
  ASSERT_TRUE(Add(1, 40).ok());
  ASSERT_TRUE(Add(1, 40).ok());
  Step();
  clock_.now += kGoal + milliseconds(1);
  while (CapsOf(0).empty()) Step();
  const uint32_t lowered = CapsOf(0)[0].first;
  while (told(id).prompt_depths.size() < lowered) Step();
  ASSERT_TRUE(schedule_->Cancel(id + 2));
  Step();  // so it goes before the other, who came later
  EXPECT_EQ(told(id + 1).started, 1);
  EXPECT_EQ(told(id + 3).started, 0);
  EXPECT_LT(told(id).prompt_depths.size(), 14U);
  Finish();
  EXPECT_THAT(told(id + 1).prompt_depths, Each(3U));
}

TEST_F(DepthTest, LowPriorityAndThoseThatHaveRunDoNotCountAsWaiting) {
  options_.limits.slots = 1;
  Start();
  ScheduledSample low = MakeSample(1, 30);
  low.priority = Priority::kLow;
  ASSERT_TRUE(schedule_->Add(low).ok());
  Step();
  ASSERT_TRUE(Add(1, 30).ok());
  Step();
  ASSERT_EQ(schedule_->counters().preemptions_for_priority, 1U);
  ScheduledSample other = MakeSample(1, 30);
  other.priority = Priority::kLow;
  ASSERT_TRUE(schedule_->Add(other).ok());
  for (int i = 0; i < 20; ++i) {
    clock_.now += kGoal;
    Step();
  }
  EXPECT_EQ(schedule_->counters().waiting, 2U);
  EXPECT_EQ(schedule_->counters().depth_cap, 3U);
}

TEST_F(DepthTest, WithoutAGoalNothingIsLowered) {
  options_.queue_time_goal.reset();
  Start();
  const size_t id = AddAdaptive(1, 30);
  Overload();
  clock_.now += 100 * kGoal;
  Finish();
  EXPECT_THAT(told(id).token_depths, Each(3U));
  EXPECT_EQ(schedule_->counters().depth_cap, 3U);
}

TEST_F(DepthTest, WhatCannotBeIsRefused) {
  Start();
  ScheduledSample sample = MakeSample(1, 1);
  sample.adaptive_min = 4;
  EXPECT_THAT(schedule_->Add(sample).message(), HasSubstr("adaptive_min is 4; expected 1 to 3"));
  sample.adaptive_min = 0;
  EXPECT_THAT(schedule_->Add(sample).message(), HasSubstr("adaptive_min is 0"));
  model_.shape.recursions = 1;
  EXPECT_THAT(Schedule::Create(options_, model_.shape, &clock_).status().message(),
              HasSubstr("one recursion"));
}

}  // namespace
}  // namespace recurve
