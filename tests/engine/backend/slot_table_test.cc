// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/slot_table.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr StepShape kShape = {.recursions = 3, .shared_kv = 0};
constexpr BackendLimits kLimits = {
    {.slots = 4, .areas = 2, .chunk = 8, .ends = 4, .block_rows = 4, .prompt_rows = 8},
    /*pages=*/10,
    /*max_positions=*/64,
    /*max_logprobs=*/5,
    /*max_biases=*/2,
    /*max_stop_ids=*/2};
constexpr uint32_t kVocab = 50;

SlotTable MakeTable() { return SlotTable(kShape, kLimits, kVocab, {32, 16, 16, 16, 32}); }

Admission Admit(uint32_t slot, uint32_t area = kNoArea, uint32_t prompt = 1) {
  Admission a = {};
  a.slot = slot;
  a.area = area;
  a.state.stage = Stage::kEntry;
  a.limits = {.prompt = prompt, .end = 20, .room = 20, .chunk = 8};
  a.logprobs = kNoLogprobs;
  return a;
}

TEST(SlotTable, RefusesPlansThatContradictIt) {
  using Change = std::function<void(StepPlan&)>;
  const auto admission = [](const std::function<void(Admission&)>& change) -> Change {
    return [change](StepPlan& plan) {
      Admission a = Admit(1, 0, 9);
      change(a);
      plan.admits.push_back(a);
    };
  };
  const std::vector<std::pair<Change, std::string>> cases = {
      {[](StepPlan& p) { p.drops.push_back({4}); }, "drop names slot 4, expected less than 4"},
      {[](StepPlan& p) {
         p.pages.push_back({1, 5, 0, 0});
       },
       "a page's group of slot 1 is 5"},
      {[](StepPlan& p) {
         p.pages.push_back({1, 1, 4, 0});
       },
       "a page's index of slot 1 is 4"},
      {[](StepPlan& p) {
         p.pages.push_back({1, 1, 0, 10});
       },
       "a page of slot 1 is 10"},
      {[](StepPlan& p) {
         p.pages.push_back({9, 1, 0, 1});
       },
       "a page names slot 9"},
      {[](StepPlan& p) {
         p.tokens.push_back({1, 64, 1});
       },
       "a token's position of slot 1 is 64"},
      {[](StepPlan& p) {
         p.tokens.push_back({1, 1, 50});
       },
       "a token of slot 1 is 50"},
      {[](StepPlan& p) {
         p.tokens.push_back({5, 1, 1});
       },
       "a token names slot 5"},
      {[](StepPlan& p) {
         p.caps.push_back({1, 1, 0});
       },
       "depth cap of 0"},
      {[](StepPlan& p) {
         p.caps.push_back({7, 1, 1});
       },
       "a cap names slot 7"},
      {[](StepPlan& p) {
         p.rooms.push_back({1, 65});
       },
       "room of slot 1 is 65"},
      {[](StepPlan& p) {
         p.rooms.push_back({4, 1});
       },
       "a room names slot 4"},
      {admission([](Admission& a) { a.slot = 4; }), "admission names slot 4"},
      {admission([](Admission& a) { a.slot = 0; }), "slot 0, which is busy"},
      {admission([](Admission& a) { a.area = 2; }), "area of slot 1 is 2"},
      {admission([](Admission& a) { a.area = 1; }), "area 1 of slot 1 is still lent to slot 0"},
      {admission([](Admission& a) { a.area = kNoArea; }), "no area for its prompt of 9"},
      {admission([](Admission& a) { a.state.stage = Stage::kExit; }), "admitted at stage 3"},
      {admission([](Admission& a) { a.limits.chunk = 9; }), "chunk"},
      {admission([](Admission& a) { a.limits.chunk = 0; }), "chunk"},
      {admission([](Admission& a) { a.wants = kWantsPromptLogprobs; }),
       "chunk with prompt logprobs"},
      {admission([](Admission& a) { a.limits.prompt = 0; }), "prompt"},
      {admission([](Admission& a) { a.limits.room = 65; }), "room of slot 1 is 65"},
      {admission([](Admission& a) { a.logprobs = 6; }), "logprobs of slot 1 is 6"},
      {admission([](Admission& a) { a.bias_count = 3; }), "bias_count of slot 1 is 3"},
      {admission([](Admission& a) { a.stop_count = 1; }), "outside of the plan's lists"},
  };
  for (const auto& [change, message] : cases) {
    SlotTable table = MakeTable();
    StepPlan plan;
    plan.admits.push_back(Admit(0, 1, 9));
    ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
    plan.Clear();
    change(plan);
    const absl::Status status = table.Apply(plan, [](const Evict&) {});
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(SlotTable, DropsComeBeforeAdmissions) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(2, 0, 9));
  plan.tokens.push_back({2, 0, 7});
  plan.pages.push_back({2, 1, 0, 3});
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  plan.Clear();
  plan.drops.push_back({2});
  plan.admits.push_back(Admit(2, 0, 5));
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  EXPECT_EQ(table.slot(2).limits.prompt, 5U);
  EXPECT_EQ(table.slot(2).tokens[0], kNoToken);
  EXPECT_EQ(table.slot(2).pages[1][0], kNoPage);
}

TEST(SlotTable, KeepsBiasesAndStopIdsOfEachAdmission) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.biases = {{1, 0.5F}, {2, 1.5F}, {3, 2.5F}};
  plan.stop_ids = {4, 5};
  plan.admits.push_back(Admit(0));
  plan.admits[0].bias_begin = 1;
  plan.admits[0].bias_count = 2;
  plan.admits[0].stop_begin = 1;
  plan.admits[0].stop_count = 1;
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  ASSERT_EQ(table.slot(0).biases.size(), 2U);
  EXPECT_EQ(table.slot(0).biases[1].token, 3U);
  EXPECT_THAT(table.slot(0).stop_ids, ElementsAre(5));
}

TEST(SlotTable, CapsHoldFromTheirPositionOn) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(0));
  plan.caps = {{0, 4, 2}, {0, 8, 1}, {0, 12, 9}};
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  const Slot& slot = table.slot(0);
  EXPECT_EQ(slot.CapAt(3, 3), 3U);
  EXPECT_EQ(slot.CapAt(4, 3), 2U);
  EXPECT_EQ(slot.CapAt(7, 3), 2U);
  EXPECT_EQ(slot.CapAt(8, 3), 1U);
  EXPECT_EQ(slot.CapAt(12, 3), 3U);
  plan.Clear();
  plan.caps = {{0, 8, 3}};  // takes the place of all later ones
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  EXPECT_EQ(slot.CapAt(7, 3), 2U);
  EXPECT_EQ(slot.CapAt(60, 3), 3U);
  EXPECT_EQ(slot.caps.size(), 2U);
}

TEST(SlotTable, ForgetsCapsOfFinishedPositions) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(0));
  plan.admits[0].state.position = 30;
  plan.admits[0].limits = {.prompt = 31, .end = 60, .room = 60, .chunk = 8};
  for (uint32_t position = 0; position < 40; ++position) plan.caps.push_back({0, position, 2});
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  EXPECT_LE(table.slot(0).caps.size(), 11U);
  EXPECT_EQ(table.slot(0).CapAt(30, 3), 2U);
}

// So a device has memory for all caps of a slot: one before its position, the others in its
// history.
TEST(SlotTable, CapsBeyondTheHistoryAreRefused) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(0));
  plan.admits[0].state.position = 3;
  plan.caps = {{0, 66, 2}};
  EXPECT_EQ(table.Apply(plan, [](const Evict&) {}), absl::OkStatus());
  plan.Clear();
  plan.caps = {{0, 67, 2}};
  EXPECT_EQ(table.Apply(plan, [](const Evict&) {}),
            absl::InternalError("plan: a cap's position of slot 0 is 67, expected less than 67"));
}

TEST(SlotTable, FollowsASpan) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(3, 0, 4));
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  const Slot& slot = table.slot(3);
  table.Entered(3);
  EXPECT_THAT(slot.active, ElementsAre(0, 1, 2, 3));
  const uint8_t first[] = {1, 0, 1, 1};
  table.RanBlock(3, first);
  EXPECT_THAT(slot.active, ElementsAre(0, 2, 3));
  EXPECT_EQ(slot.state.recursion, 2U);
  const uint8_t second[] = {0, 0, 1};
  table.RanBlock(3, second);
  EXPECT_THAT(slot.active, ElementsAre(3));
  const uint8_t third[] = {0};
  table.RanBlock(3, third);
  EXPECT_EQ(slot.state.stage, Stage::kExit);
  EXPECT_THAT(slot.row_depth, ElementsAre(2, 1, 2, 3));
  EXPECT_EQ(LogitRows(slot), 1U);
  table.Exited(3, 17, 0);
  EXPECT_EQ(slot.tokens[4], 17U);
  EXPECT_EQ(slot.state.position, 4U);
  EXPECT_EQ(slot.state.stage, Stage::kEntry);
  EXPECT_FALSE(InPrompt(slot));
}

TEST(SlotTable, PromptLogprobsWantLogitsOfEveryPromptRow) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(0, 0, 12));
  plan.admits[0].wants = kWantsPromptLogprobs;
  plan.admits[0].limits.chunk = 4;
  plan.admits.push_back(Admit(1, 1, 12));
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  table.Entered(0);
  table.Entered(1);
  EXPECT_EQ(LogitRows(table.slot(0)), 4U);
  EXPECT_EQ(LogitRows(table.slot(1)), 0U);
}

TEST(SlotTable, MissingPagesAreNamed) {
  SlotTable table = MakeTable();
  StepPlan plan;
  plan.admits.push_back(Admit(0, 0, 9));
  plan.admits[0].state.count[1] = 14;
  plan.pages.push_back({0, 1, 0, 5});
  ASSERT_TRUE(table.Apply(plan, [](const Evict&) {}).ok());
  EXPECT_TRUE(table.CheckPages(0, 1, 2).ok());
  EXPECT_TRUE(table.CheckPages(0, 1, 0).ok());
  EXPECT_THAT(std::string(table.CheckPages(0, 1, 3).message()),
              HasSubstr("no page 1 of group 1 for entries 14..16"));
  EXPECT_FALSE(table.CheckPages(0, 2, 1).ok());
}

}  // namespace
}  // namespace recurve
