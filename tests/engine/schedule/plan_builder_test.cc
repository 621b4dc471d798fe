// SPDX-License-Identifier: Apache-2.0
// What plans of few changes say of one stay, one after the other, without a schedule.
#include "engine/schedule/plan_builder.h"

#include <cstdint>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr StepShape kTwoRecursions{2, 0};  // groups 0 (entry), 1, 2, 3 (exit)
constexpr EntriesPerPage kEntriesPerPage = {4, 4, 4, 4};

BackendLimits LimitsOf(uint32_t plan_changes) {
  BackendLimits limits;
  limits.slots = 2;
  limits.max_biases = 3;
  limits.max_stop_ids = 2;
  limits.plan_changes = plan_changes;
  return limits;
}

// A prompt of twelve tokens, each other one of which has a cap of its own.
ScheduledSample MakeSample() {
  ScheduledSample sample;
  for (uint32_t i = 0; i < 12; ++i) {
    sample.prompt.push_back(100 + i);
    sample.caps.push_back({i, 1 + i % 2});
  }
  return sample;
}

class PlanBuilderTest : public testing::Test {
 protected:
  PlanBuilderTest() {
    sequence_.slot = 1;
    stay_.sequence = &sequence_;
    stay_.state.stage = Stage::kEntry;
    stay_.limits.prompt = 12;
    stay_.limits.end = 20;
  }
  ~PlanBuilderTest() override { tables_.Release(1); }

  // Makes plans until one is complete, and returns them.
  std::vector<StepPlan> TellUpTo(uint32_t room, uint32_t plan_changes) {
    EXPECT_TRUE(tables_.Extend(1, stay_.state, room));
    PlanBuilder builder(LimitsOf(plan_changes));
    std::vector<StepPlan> plans;
    bool complete = false;
    while (!complete && plans.size() < 100) {
      builder.Begin(static_cast<uint32_t>(plans.size()) + 1, 1);
      EXPECT_FALSE(builder.is_full());
      complete = builder.TellUpTo(stay_, room, tables_);
      EXPECT_EQ(builder.is_full(), !complete);
      EXPECT_EQ(CheckPlanSizes(builder.plan(), LimitsOf(plan_changes)), absl::OkStatus());
      plans.push_back(builder.plan());
    }
    return plans;
  }

  PagePool pool_{100};
  PageTables tables_{&pool_, 2, kTwoRecursions, kEntriesPerPage};
  Sequence sequence_{MakeSample(), ScheduleOptions(), kTwoRecursions, SteadyTime()};
  Stay stay_;
};

TEST_F(PlanBuilderTest, OnePlanIsEnoughWhereThereIsSpace) {
  const std::vector<StepPlan> plans = TellUpTo(5, /*plan_changes=*/8);
  ASSERT_THAT(plans, SizeIs(1));
  EXPECT_THAT(plans[0].pages, SizeIs(8)) << "two in each group";
  EXPECT_THAT(plans[0].tokens, SizeIs(6)) << "and the one after the last row";
  EXPECT_THAT(plans[0].caps, SizeIs(5)) << "below the room";
}

TEST_F(PlanBuilderTest, PlansOfOneChangeTellTheSameInOrder) {
  const std::vector<StepPlan> plans = TellUpTo(5, /*plan_changes=*/1);
  ASSERT_THAT(plans, SizeIs(8));
  for (uint32_t i = 0; i < 8; ++i) {
    ASSERT_THAT(plans[i].pages, SizeIs(1));
    EXPECT_EQ(plans[i].pages[0].group, i / 2);
    EXPECT_EQ(plans[i].pages[0].index, i % 2);
    ASSERT_THAT(plans[i].tokens, SizeIs(i < 6 ? 1 : 0));
    for (const TokenChange& token : plans[i].tokens) {
      EXPECT_EQ(token.position, i);
      EXPECT_EQ(token.token, 100 + i);
    }
    ASSERT_THAT(plans[i].caps, SizeIs(i < 5 ? 1 : 0));
    for (const CapChange& cap : plans[i].caps) {
      EXPECT_EQ(cap.position, i);
      EXPECT_EQ(cap.cap, 1 + i % 2);
    }
  }
}

TEST_F(PlanBuilderTest, TheNextRoomGoesOnFromThere) {
  TellUpTo(5, /*plan_changes=*/3);
  const std::vector<StepPlan> plans = TellUpTo(7, /*plan_changes=*/100);
  ASSERT_THAT(plans, SizeIs(1));
  EXPECT_THAT(plans[0].pages, IsEmpty());
  ASSERT_THAT(plans[0].tokens, SizeIs(2));
  EXPECT_EQ(plans[0].tokens[0].position, 6U);
  ASSERT_THAT(plans[0].caps, SizeIs(2));
  EXPECT_EQ(plans[0].caps[0].position, 5U);
}

TEST_F(PlanBuilderTest, BehindAPrefixTheCapInForceComesFirstAndAllTokensAreTold) {
  ScheduledSample sample = MakeSample();
  sample.caps = {{0, 1}, {9, 2}};
  Sequence sequence(sample, ScheduleOptions(), kTwoRecursions, SteadyTime());
  sequence.slot = 1;
  stay_.sequence = &sequence;
  stay_.state.position = 8;
  EXPECT_THAT(TellUpTo(8, /*plan_changes=*/100)[0].caps, IsEmpty()) << "it has no room yet";
  const std::vector<StepPlan> plans = TellUpTo(11, /*plan_changes=*/100);
  ASSERT_THAT(plans[0].caps, SizeIs(2));
  EXPECT_EQ(plans[0].caps[0].position, 8U);
  EXPECT_EQ(plans[0].caps[0].cap, 1U);
  EXPECT_EQ(plans[0].caps[1].position, 9U);
  EXPECT_EQ(stay_.told_tokens, 12U) << "of those given no more than there are";
}

TEST_F(PlanBuilderTest, AdmissionsWaitForSpace) {
  ScheduledSample sample;
  sample.prompt = {1};
  sample.biases.resize(2);
  sample.stop_token_ids = {1, 2};
  const Sequence plain(sample, ScheduleOptions(), kTwoRecursions, SteadyTime());
  stay_.sequence = &sequence_;
  PlanBuilder builder(LimitsOf(/*plan_changes=*/2));
  EXPECT_TRUE(builder.HasSpaceToAdmit(plain));
  builder.plan().biases.resize(2);
  EXPECT_FALSE(builder.HasSpaceToAdmit(plain)) << "of 3 biases";
  builder.plan().biases.resize(1);
  EXPECT_TRUE(builder.HasSpaceToAdmit(plain));
  builder.plan().stop_ids.resize(1);
  EXPECT_FALSE(builder.HasSpaceToAdmit(plain)) << "of 2 stop ids";
  builder.plan().Clear();
  builder.Admit(stay_);
  builder.Admit(stay_);
  EXPECT_FALSE(builder.HasSpaceToAdmit(plain)) << "of 2 admissions";
}

TEST_F(PlanBuilderTest, WhatTheSlotWasGivenIsTakenBack) {
  PlanBuilder builder(LimitsOf(/*plan_changes=*/100));
  StepPlan& plan = builder.plan();
  plan.evicts = {{0, 1, 5, 3}, {1, 1, 5, 3}};
  plan.copies = {{7, 8}, {7, 9}};
  plan.pages = {{0, 1, 0, 8}, {1, 1, 0, 9}};
  builder.TakeBack(1);
  ASSERT_THAT(plan.evicts, SizeIs(1));
  EXPECT_EQ(plan.evicts[0].slot, 0U);
  ASSERT_THAT(plan.copies, SizeIs(1));
  EXPECT_EQ(plan.copies[0].to, 8U);
  ASSERT_THAT(plan.pages, SizeIs(1));
  EXPECT_EQ(plan.pages[0].slot, 0U);
}

}  // namespace
}  // namespace recurve
