// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/step_sizes.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr BackendLimits kLimits = [] {
  BackendLimits limits;
  limits.slots = 30;
  limits.ends = 3;
  limits.prompt_rows = 9;
  limits.max_logprobs = 4;
  limits.max_biases = 50;
  limits.max_stop_ids = 7;
  limits.plan_changes = 20;
  return limits;
}();

// As large as kLimits allow.
StepPlan LargestPlan() {
  StepPlan plan;
  plan.drops.resize(30);
  plan.admits.resize(20);
  plan.evicts.resize(20);
  plan.copies.resize(20);
  plan.pages.resize(20);
  plan.tokens.resize(20);
  plan.caps.resize(20);
  plan.rooms.resize(30);
  plan.biases.resize(50);
  plan.stop_ids.resize(20);
  return plan;
}

TEST(StepSizesTest, APlanAtItsBoundIsAllowed) {
  EXPECT_EQ(CheckPlanSizes(LargestPlan(), kLimits), absl::OkStatus());
  EXPECT_EQ(MostOfPlan(kLimits).Words(), SizesOf(LargestPlan()).Words());
  EXPECT_EQ(MostOfPlan(kLimits).Words(),
            5U + 30 + 20 * sizeof(Admission) / 4 + 20 * (4 + 2 + 4 + 3 + 3) + 30 * 2 + 50 * 2 + 20);
}

TEST(StepSizesTest, APlanBeyondItIsRefusedByTheNameOfTheList) {
  using Change = std::function<void(StepPlan&)>;
  const std::vector<std::pair<Change, std::string>> cases = {
      {[](StepPlan& p) { p.drops.emplace_back(); }, "drops holds 31, expected at most 30"},
      {[](StepPlan& p) { p.admits.emplace_back(); }, "admits holds 21, expected at most 20"},
      {[](StepPlan& p) { p.evicts.emplace_back(); }, "evicts holds 21, expected at most 20"},
      {[](StepPlan& p) { p.copies.emplace_back(); }, "copies holds 21, expected at most 20"},
      {[](StepPlan& p) { p.pages.emplace_back(); }, "pages holds 21, expected at most 20"},
      {[](StepPlan& p) { p.tokens.emplace_back(); }, "tokens holds 21, expected at most 20"},
      {[](StepPlan& p) { p.caps.emplace_back(); }, "caps holds 21, expected at most 20"},
      {[](StepPlan& p) { p.rooms.emplace_back(); }, "rooms holds 31, expected at most 30"},
      {[](StepPlan& p) { p.biases.emplace_back(); }, "biases holds 51, expected at most 50"},
      {[](StepPlan& p) { p.stop_ids.emplace_back(); }, "stop_ids holds 21, expected at most 20"}};
  for (const auto& [change, message] : cases) {
    StepPlan plan = LargestPlan();
    change(plan);
    EXPECT_EQ(CheckPlanSizes(plan, kLimits), absl::InternalError("plan: " + message));
  }
}

TEST(StepSizesTest, TheFewestChangesHaveSpaceForOneSlot) {
  BackendLimits limits = kLimits;
  limits.plan_changes = 1;
  const PlanSizes most = MostOfPlan(limits);
  EXPECT_EQ(most.admits, 1U);
  EXPECT_EQ(most.pages, 1U);
  EXPECT_EQ(most.copies, 1U);
  EXPECT_EQ(most.tokens, 1U);
  EXPECT_EQ(most.caps, 1U);
  EXPECT_EQ(most.evicts, kMaxGroups);
  EXPECT_EQ(most.biases, 50U);
  EXPECT_EQ(most.stop_ids, 7U);
  EXPECT_EQ(most.drops, 30U);
  EXPECT_EQ(most.rooms, 30U);
}

TEST(StepSizesTest, AResultIsBoundedByRowsAndLogprobs) {
  StepResult result;
  result.outcomes.resize(30);
  result.depths.resize(3 + 9);
  result.logprobs.resize(3 * 5);
  EXPECT_EQ(MostOfResult(kLimits).Words(), SizesOf(result).Words());
  EXPECT_EQ(MostOfResult(kLimits).Words(), 16U + 30 * 6 + 12 + 15 * 4);
}

}  // namespace
}  // namespace recurve
