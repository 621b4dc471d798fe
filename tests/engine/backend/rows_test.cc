// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/rows.h"

#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr StepShape kShape = {.recursions = 3, .shared_kv = 0};
constexpr StepShape kShared = {.recursions = 3, .shared_kv = 1};
constexpr HiddenLayout kLayout = {.slots = 10, .chunk = 8};

// A prompt of 12 tokens in area 2, of which 5 rows from position 4 on are in flight.
SlotRecord PromptSlot(Stage stage) {
  SlotRecord slot;
  slot.limits = {.prompt = 12, .end = 20, .room = 20, .chunk = 5};
  slot.area = 2;
  slot.state.stage = stage;
  slot.state.position = 4;
  slot.state.recursion = 1;
  slot.state.rows = slot.state.active = stage == Stage::kEntry ? 0 : 5;
  for (uint32_t group = 0; group < kMaxGroups; ++group) slot.state.count[group] = 10 * group + 4;
  return slot;
}

TEST(RowsTest, ASlotWaitsAtItsStageAlone) {
  for (const Stage at : {Stage::kNone, Stage::kEntry, Stage::kBlock, Stage::kExit}) {
    SlotRecord slot = PromptSlot(at);
    slot.state.active = at == Stage::kBlock ? 2 : 0;
    EXPECT_EQ(NeedOf(slot, Stage::kNone).rows, 0U);
    EXPECT_EQ(NeedOf(slot, Stage::kEntry).rows, at == Stage::kEntry ? 5U : 0U);
    EXPECT_EQ(NeedOf(slot, Stage::kBlock).rows, at == Stage::kBlock ? 2U : 0U);
    EXPECT_EQ(NeedOf(slot, Stage::kExit).rows, at == Stage::kExit ? 5U : 0U);
  }
  SlotRecord held = PromptSlot(Stage::kEntry);
  held.limits.room = 4;
  EXPECT_EQ(NeedOf(held, Stage::kEntry).rows, 0U);
}

TEST(RowsTest, RowsWithLogitsAreTheLastOnes) {
  SlotRecord slot = PromptSlot(Stage::kExit);
  EXPECT_EQ(LogitRows(slot), 0U);  // the prompt goes on
  slot.wants = kWantsPromptLogprobs;
  EXPECT_EQ(LogitRows(slot), 5U);
  EXPECT_EQ(NeedOf(slot, Stage::kExit).logits, 5U);
  slot.wants = 0;
  slot.limits.prompt = 9;  // ends with the span
  EXPECT_EQ(LogitRows(slot), 1U);
  EXPECT_TRUE(SamplesRow(slot, 8));
  EXPECT_FALSE(SamplesRow(slot, 7));
  slot.limits.prompt = 2;
  EXPECT_EQ(KindOf(slot), RowKind::kGenerated);
  slot.wants = kWantsPromptLogprobs;
  EXPECT_EQ(LogitRows(slot), 1U);
}

TEST(RowsTest, GivenTokensStandInThePrompt) {
  SlotRecord slot = PromptSlot(Stage::kExit);
  EXPECT_FALSE(WantsGivenToken(slot, 4));
  slot.wants = kWantsPromptLogprobs;
  EXPECT_TRUE(WantsGivenToken(slot, 10));
  EXPECT_FALSE(WantsGivenToken(slot, 11));
}

TEST(RowsTest, ExitPartsShareOutTheSpan) {
  for (const EvictionPolicy eviction : {EvictionPolicy::kNone, EvictionPolicy::kAttention}) {
    SlotRecord slot = PromptSlot(Stage::kExit);
    slot.limits.prompt = 9;
    slot.eviction = eviction;
    const bool queries = eviction == EvictionPolicy::kAttention;
    EXPECT_EQ(ExitRows(slot, ExitPart::kLogits).begin, 4U);
    EXPECT_EQ(ExitRows(slot, ExitPart::kLogits).end, 5U);
    EXPECT_EQ(ExitRows(slot, ExitPart::kQueries).end, queries ? 4U : 0U);
    EXPECT_EQ(ExitRows(slot, ExitPart::kEntries).end, queries ? 0U : 4U);
  }
}

TEST(RowsTest, CapsHoldUntilTheNextOne) {
  const std::vector<DepthCap> caps = {{4, 2}, {8, 1}, {12, 9}};
  const auto at = [&caps](uint32_t position) { return CapAt(caps.data(), 3, position, 3); };
  EXPECT_EQ(at(3), 3U);
  EXPECT_EQ(at(4), 2U);
  EXPECT_EQ(at(7), 2U);
  EXPECT_EQ(at(8), 1U);
  EXPECT_EQ(at(12), 3U);
  EXPECT_EQ(CapAt(caps.data(), 0, 5, 3), 3U);
}

TEST(RowsTest, EndsRunWithEnoughRowsOrAnEmptyBlock) {
  const StepCaps caps = {.ends = 3, .ends_min = 5};
  EXPECT_FALSE(EndsRun(caps, 4, true));
  EXPECT_TRUE(EndsRun(caps, 5, true));
  EXPECT_TRUE(EndsRun(caps, 0, false));
  EXPECT_FALSE(EndsRun({.ends = 0}, 100, false));
  EXPECT_FALSE(EndsRun({.ends = 3, .ends_min = kEndsWhenBlockEmpty}, 1U << 31, true));
}

TEST(RowsTest, CapsOfEachList) {
  const StepCaps caps = {.ends = 3, .ends_min = 1, .block_rows = 4, .prompt_rows = 9};
  for (const Stage stage : {Stage::kEntry, Stage::kBlock, Stage::kExit}) {
    EXPECT_EQ(CapsOf(caps, stage, RowKind::kPrompt).rows, 9U);
    EXPECT_EQ(CapsOf(caps, stage, RowKind::kGenerated).rows, stage == Stage::kBlock ? 4U : 3U);
    EXPECT_EQ(CapsOf(caps, stage, RowKind::kPrompt).logits, 3U);
  }
  EXPECT_TRUE(Fits({3, 1}, {3, 1}));
  EXPECT_FALSE(Fits({4, 1}, {3, 1}));
  EXPECT_FALSE(Fits({3, 2}, {3, 1}));
}

TEST(RowsTest, HiddenRowsOfPromptsAreThoseOfTheirArea) {
  SlotRecord slot = PromptSlot(Stage::kBlock);
  EXPECT_EQ(HiddenRow(slot, 7, 3, kLayout), 10U + 2 * 8 + 3);
  slot.area = kNoArea;
  EXPECT_EQ(HiddenRow(slot, 7, 0, kLayout), 7U);
  slot = PromptSlot(Stage::kBlock);
  slot.state.position = 12;
  EXPECT_EQ(HiddenRow(slot, 7, 0, kLayout), 7U);
}

TEST(RowsTest, AnEndAppendsToItsGroup) {
  const Row row = EndRow(PromptSlot(Stage::kExit), 7, 3, kShape.exit_group(), kLayout);
  EXPECT_EQ(row.slot, 7U);
  EXPECT_EQ(row.position, 7U);
  EXPECT_EQ(row.recursion, 0U);
  EXPECT_EQ(row.group, 4U);
  EXPECT_EQ(row.entry, 44U + 3);
  EXPECT_EQ(row.visible, 44U + 4);
}

TEST(RowsTest, BlockRowsSeeWhatTheirRecursionHolds) {
  SlotRecord slot = PromptSlot(Stage::kBlock);
  slot.state.recursion = 2;
  slot.state.active = 2;  // rows 1 and 3 of the span
  Row row = BlockRow(slot, 7, 1, 3, kShape, false, kLayout);
  EXPECT_EQ(row.position, 7U);
  EXPECT_EQ(row.group, 2U);
  EXPECT_EQ(row.entry, 24U + 1);
  EXPECT_EQ(row.visible, 24U + 2);
  // Over recursion 1's entries, the span's own of which are the last five.
  row = BlockRow(slot, 7, 1, 3, kShape, true, kLayout);
  EXPECT_EQ(row.entry, 24U + 1);
  EXPECT_EQ(row.visible, 14U - 5 + 3 + 1);
  // Shared without update: nothing is appended.
  row = BlockRow(slot, 7, 1, 3, kShared, false, kLayout);
  EXPECT_EQ(row.group, 1U);
  EXPECT_EQ(row.entry, kNoEntry);
  EXPECT_EQ(row.visible, 14U - 5 + 3 + 1);
}

}  // namespace
}  // namespace recurve
