// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/selection.h"

#include <cstdint>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr StepShape kShape = {.recursions = 2, .shared_kv = 0};

// Slots whose stage the tests move by hand.
class SelectionTest : public ::testing::Test {
 protected:
  SelectionTest() : table_(kShape, Limits(), 10, {16, 16, 16, 16}), selection_(8) {
    plan_.ends = plan_.block_rows = 3;
    plan_.prompt_rows = 8;
  }

  static BackendLimits Limits() {
    BackendLimits limits;
    limits.slots = 8;
    limits.areas = 8;
    limits.chunk = 8;
    limits.FillIn();
    limits.max_positions = 64;
    return limits;
  }

  // A slot that waits for ENTRY with one generated row, or a prompt of `prompt` tokens.
  void Admit(uint32_t slot, uint32_t prompt = 0, uint32_t wants = 0) {
    StepPlan plan;
    Admission a = {};
    a.slot = slot;
    a.area = prompt == 0 ? kNoArea : slot;
    a.state.stage = Stage::kEntry;
    a.state.position = prompt == 0 ? 1 : 0;
    a.limits = {.prompt = prompt == 0 ? 1 : prompt, .end = 60, .room = 60, .chunk = 8};
    a.wants = wants;
    if (wants != 0) a.limits.chunk = prompt;
    plan.admits.push_back(a);
    ASSERT_TRUE(table_.Apply(plan, [](const Evict&) {}).ok());
  }

  void ToBlock(uint32_t slot) { table_.Entered(slot); }
  void ToExit(uint32_t slot) {
    table_.Entered(slot);
    const std::vector<uint8_t> none(8, 0);
    table_.RanBlock(slot, none.data());
  }

  SlotTable table_;
  Selection selection_;
  StepPlan plan_;
};

TEST_F(SelectionTest, EndsRunWhenEnoughRowsWaitOrTheBlockIsEmpty) {
  EXPECT_TRUE(Selection::EndsRun(table_, plan_));  // nothing waits, and nothing for the block
  Admit(0);
  ToBlock(0);
  EXPECT_FALSE(Selection::EndsRun(table_, plan_));
  Admit(1, 5);
  plan_.ends_min = 5;
  EXPECT_TRUE(Selection::EndsRun(table_, plan_));
  plan_.ends_min = 6;
  EXPECT_FALSE(Selection::EndsRun(table_, plan_));
  Admit(2);
  ToExit(2);
  EXPECT_TRUE(Selection::EndsRun(table_, plan_));
  plan_.ends_min = kEndsWhenBlockEmpty;
  EXPECT_FALSE(Selection::EndsRun(table_, plan_));
  StepPlan drop;
  drop.drops.push_back({0});
  ASSERT_TRUE(table_.Apply(drop, [](const Evict&) {}).ok());
  EXPECT_TRUE(Selection::EndsRun(table_, plan_));
  plan_.ends = 0;
  EXPECT_FALSE(Selection::EndsRun(table_, plan_));
}

TEST_F(SelectionTest, HeldSlotsDoNotCount) {
  Admit(0);
  ToBlock(0);
  Admit(1);
  StepPlan hold;
  hold.rooms.push_back({1, 1});
  ASSERT_TRUE(table_.Apply(hold, [](const Evict&) {}).ok());
  EXPECT_FALSE(Selection::EndsRun(table_, plan_));
  EXPECT_THAT(selection_.Entry(table_, plan_), IsEmpty());
}

TEST_F(SelectionTest, GoesRoundFromTheFirstLeftOut) {
  for (uint32_t slot = 0; slot < 5; ++slot) Admit(slot);
  EXPECT_THAT(selection_.Entry(table_, plan_), ElementsAre(0, 1, 2));
  EXPECT_THAT(selection_.Entry(table_, plan_), ElementsAre(3, 4, 0));
  EXPECT_THAT(selection_.Entry(table_, plan_), ElementsAre(1, 2, 3));
  plan_.ends = 8;
  EXPECT_THAT(selection_.Entry(table_, plan_), ElementsAre(4, 0, 1, 2, 3));
}

TEST_F(SelectionTest, APromptThatDoesNotFitStopsPromptsAlone) {
  Admit(0, 5);
  Admit(1, 5);
  Admit(2, 3);
  Admit(3);
  for (uint32_t slot = 0; slot < 4; ++slot) ToBlock(slot);
  EXPECT_THAT(selection_.Block(table_, plan_),
              ElementsAre(3, 0));  // 5 + 3 would fit, but 1 is next
  EXPECT_THAT(selection_.Block(table_, plan_), ElementsAre(3, 1, 2));
  EXPECT_THAT(selection_.Block(table_, plan_), ElementsAre(3, 0));
}

TEST_F(SelectionTest, PromptRowsWithoutLogitsDoNotCountUnderEnds) {
  Admit(0, 20);
  ToExit(0);
  for (uint32_t slot = 1; slot < 4; ++slot) {
    Admit(slot);
    ToExit(slot);
  }
  EXPECT_THAT(selection_.Exit(table_, plan_), ElementsAre(1, 2, 3, 0));
}

TEST_F(SelectionTest, TheLastRowOfAPromptCountsUnderEnds) {
  Admit(0, 4);
  Admit(1, 4);
  ToExit(0);
  ToExit(1);
  plan_.ends = 1;
  EXPECT_THAT(selection_.Exit(table_, plan_), ElementsAre(0));
  EXPECT_THAT(selection_.Exit(table_, plan_), ElementsAre(1));
}

TEST_F(SelectionTest, NeitherKindStarvesTheOtherAtExit) {
  Admit(0, 3, kWantsPromptLogprobs);
  ToExit(0);
  for (uint32_t slot = 1; slot < 6; ++slot) {
    Admit(slot);
    ToExit(slot);
  }
  std::set<uint32_t> served;
  for (int step = 0; step < 4; ++step) {
    const std::vector<uint32_t>& chosen = selection_.Exit(table_, plan_);
    served.insert(chosen.begin(), chosen.end());
  }
  EXPECT_EQ(served.size(), 6U);
}

}  // namespace
}  // namespace recurve
