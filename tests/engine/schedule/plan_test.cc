// SPDX-License-Identifier: Apache-2.0
// What plans say, and which rows follow from them, in situations small enough to follow by hand.
#include <cstdint>
#include <vector>

#include "engine/schedule/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

class PlanTest : public ScheduleFixture {
 protected:
  std::vector<uint32_t> AdmittedSlots() const {
    std::vector<uint32_t> slots;
    for (const Admission& admission : plan_.admits) slots.push_back(admission.slot);
    return slots;
  }
  std::vector<uint32_t> DroppedSlots() const {
    std::vector<uint32_t> slots;
    for (const Drop& drop : plan_.drops) slots.push_back(drop.slot);
    return slots;
  }
  std::vector<uint32_t> TokenPositions(uint32_t slot) const {
    std::vector<uint32_t> positions;
    for (const TokenChange& change : plan_.tokens) {
      if (change.slot == slot) positions.push_back(change.position);
    }
    return positions;
  }
};

TEST_F(PlanTest, AdmissionBringsEverythingOfTheSample) {
  Start();
  ScheduledSample sample = MakeSample(6, 3);
  sample.generated_prefix = 2;
  sample.min_tokens = 3;
  sample.caps = {{0, 1}};
  sample.threshold_logit = 0.25F;
  sample.logprobs = 2;
  sample.biases = {{5, 1.5F}};
  sample.stop_token_ids = {9};
  sample.ignore_eos = false;
  ASSERT_TRUE(schedule_->Add(sample).ok());
  plan_ = schedule_->Plan();

  EXPECT_EQ(plan_.epoch, 1U);
  EXPECT_EQ(plan_.ends, 4U);
  EXPECT_EQ(plan_.ends_min, 1U);
  EXPECT_EQ(plan_.block_rows, 4U);
  EXPECT_EQ(plan_.prompt_rows, 4U);
  ASSERT_THAT(plan_.admits, SizeIs(1));
  const Admission& admission = plan_.admits[0];
  EXPECT_EQ(admission.slot, 0U);
  EXPECT_EQ(admission.area, 0U);
  EXPECT_EQ(admission.state.stage, Stage::kEntry);
  EXPECT_EQ(admission.state.position, 0U);
  EXPECT_EQ(admission.limits.prompt, 6U);
  EXPECT_EQ(admission.limits.end, 8U);   // tokens stand at 0..8; the last one is not run
  EXPECT_EQ(admission.limits.room, 4U);  // one chunk
  EXPECT_EQ(admission.limits.chunk, 4U);
  EXPECT_EQ(admission.sampling.generated, 4U);
  EXPECT_EQ(admission.sampling.min_end, 7U);
  EXPECT_EQ(admission.threshold_logit, 0.25F);
  EXPECT_EQ(admission.logprobs, 2U);
  EXPECT_EQ(admission.wants, 0U);
  EXPECT_EQ(admission.bias_count, 1U);
  EXPECT_EQ(plan_.biases[admission.bias_begin].token, 5U);
  EXPECT_EQ(admission.stop_count, 2U);
  EXPECT_THAT(plan_.stop_ids, ElementsAre(63, 9));
  EXPECT_THAT(plan_.pages, SizeIs(4));  // four entries in each of four groups
  EXPECT_THAT(TokenPositions(0), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(plan_.tokens[4].token, 14U);
  ASSERT_THAT(plan_.caps, SizeIs(1));
  EXPECT_EQ(plan_.caps[0].position, 0U);
  EXPECT_EQ(plan_.caps[0].cap, 1U);
  EXPECT_THAT(plan_.rooms, IsEmpty());
  EXPECT_THAT(plan_.drops, IsEmpty());
  EXPECT_EQ(told(0).started, 1);
}

TEST_F(PlanTest, PromptChunksAndGeneratedTokensShareSteps) {
  options_.limits.prompt_rows = 8;
  Start();
  ASSERT_TRUE(Add(1, 20).ok());
  Step();  // slot 0: ENTRY of its only prompt token, recursion 1
  EXPECT_EQ(RanIn(0), kRanEntry | kRanBlock);
  EXPECT_EQ(plan_.admits[0].area, kNoArea);
  ASSERT_TRUE(Add(6, 20).ok());
  Step();  // slot 0: recursion 2; slot 1: ENTRY of 4 rows, recursion 1
  EXPECT_EQ(RanIn(0), kRanBlock);
  EXPECT_EQ(RanIn(1), kRanEntry | kRanBlock);
  Step();  // slot 0: EXIT, a token, ENTRY, recursion 1; slot 1: recursion 2
  EXPECT_EQ(RanIn(0), kRanExit | kRanEntry | kRanBlock);
  EXPECT_EQ(RanIn(1), kRanBlock);
  EXPECT_THAT(RoomOf(1), Optional(Eq(6U)));
  EXPECT_THAT(TokenPositions(1), ElementsAre(5));
  EXPECT_THAT(told(0).tokens, SizeIs(1));
  Step();  // slot 0: recursion 2; slot 1: EXIT of the first chunk, ENTRY of the second
  EXPECT_EQ(RanIn(0), kRanBlock);
  EXPECT_EQ(RanIn(1), kRanExit | kRanEntry | kRanBlock);
  EXPECT_THAT(told(1).prompt_depths, ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(result_.outcomes, SizeIs(2));
  EXPECT_EQ(result_.outcomes[1].rows, 2U);
}

TEST_F(PlanTest, RoomIsRaisedByOneTokenForEachStepAhead) {
  Start();
  ASSERT_TRUE(Add(1, 4).ok());  // end is 4 - 1 + 1 = 4
  plan_ = schedule_->Plan();
  EXPECT_EQ(plan_.admits[0].limits.room, 1U);
  CommitWith(1, {{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 1, .active = 0}}, {});
  plan_ = schedule_->Plan();  // nothing outstanding: EXIT, then ENTRY of position 1
  EXPECT_THAT(RoomOf(0), Optional(Eq(2U)));
  plan_ = schedule_->Plan();  // one step outstanding
  EXPECT_THAT(RoomOf(0), Optional(Eq(3U)));
  plan_ = schedule_->Plan();  // two
  EXPECT_THAT(RoomOf(0), Optional(Eq(4U)));
  plan_ = schedule_->Plan();  // never past the end
  EXPECT_EQ(RoomOf(0), std::nullopt);
  EXPECT_EQ(schedule_->counters().pages_reserved, 4U);
}

TEST_F(PlanTest, LockstepRunsEndsOnlyWhenTheBlockIsEmpty) {
  for (const char* const policy : {"lockstep", "depthwise"}) {
    options_.policy = *Policy::FromName(policy);
    Start();
    ASSERT_TRUE(Add(1, 6).ok());
    Step();
    ASSERT_TRUE(Add(1, 6).ok());
    bool mixed = false;  // EXIT or ENTRY in a step in which another row came from the block
    for (int i = 0; i < 30 && schedule_->HasWork(); ++i) {
      Step();
      bool ends = false;
      bool block_alone = false;
      for (const Outcome& outcome : result_.outcomes) {
        ends = ends || (outcome.ran & (kRanExit | kRanEntry)) != 0;
        block_alone = block_alone || outcome.ran == kRanBlock;
      }
      mixed = mixed || (ends && block_alone);
    }
    EXPECT_FALSE(schedule_->HasWork());
    EXPECT_EQ(mixed, options_.policy.ends_min() == 1);
    EXPECT_EQ(plan_.ends_min, options_.policy.ends_min());
    recorders_.clear();
  }
}

TEST_F(PlanTest, ARowThatIsDoneWaitsForOthersOnlySoLong) {
  options_.policy = *Policy::FromName("staged");
  options_.costs.ends.See(1, 1000);
  options_.costs.block.See(1, 100);
  Start();
  ASSERT_TRUE(Add(1, 30).ok());
  ASSERT_TRUE(Add(1, 30).ok());
  const uint32_t enters = kRanEntry | kRanBlock;
  StepWith({{.slot = 0, .ran = enters, .rows = 1, .active = 1},
            {.slot = 1, .ran = enters, .rows = 1, .active = 1}},
           {});
  StepWith({{.slot = 0, .ran = kRanBlock}, {.slot = 1, .ran = kRanBlock}}, {});
  StepWith({{.slot = 0, .ran = kRanExit | enters, .rows = 1, .active = 1, .token = 5},
            {.slot = 1, .ran = kRanExit | enters, .rows = 1, .active = 1, .token = 5}},
           {2, 2});
  StepWith({{.slot = 0, .ran = kRanBlock}}, {});
  // As long as all slots, which the block takes together, need for two recursions.
  for (const uint32_t ends_min : {2U, 2U, 1U, 1U}) {
    StepWith({}, {});  // the other row is left out of the block, again and again
    EXPECT_EQ(plan_.ends_min, ends_min) << plan_.epoch;
  }
}

TEST_F(PlanTest, ABlockSmallerThanTheSequencesInFlightTakesThemInTurn) {
  options_.limits.block_rows = 2;
  Start();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Add(1, 30).ok());
  uint32_t ran[4] = {};
  for (int i = 0; i < 20; ++i) {
    Step();
    uint32_t rows = 0;
    for (uint32_t slot = 0; slot < 4; ++slot) {
      // A prompt's only row counts as a prompt row.
      if ((RanIn(slot) & kRanBlock) == 0 || told(slot).tokens.empty()) continue;
      ++rows;
      ++ran[slot];
    }
    EXPECT_LE(rows, 2U);
  }
  for (const uint32_t count : ran) EXPECT_NEAR(count, ran[0], 2);
}

TEST_F(PlanTest, APromptWithoutAnAreaWaitsAndSoDoesWhoCameLater) {
  options_.limits.areas = 1;
  Start();
  ASSERT_TRUE(Add(8, 4).ok());
  ASSERT_TRUE(Add(3, 4).ok());
  ASSERT_TRUE(Add(1, 4).ok());
  Step();
  EXPECT_THAT(AdmittedSlots(), ElementsAre(0));
  EXPECT_EQ(schedule_->counters().waiting, 2U);
  EXPECT_EQ(schedule_->counters().waiting_tokens, 4U);
  while (told(0).tokens.empty()) {
    Step();
    EXPECT_THAT(plan_.admits, IsEmpty());
  }
  Step();  // the first sampled token has freed the area; the last prompt needs none
  EXPECT_THAT(AdmittedSlots(), ElementsAre(1, 2));
  EXPECT_EQ(plan_.admits[0].area, 0U);
  EXPECT_EQ(plan_.admits[1].area, kNoArea);
}

TEST_F(PlanTest, APromptWaitsUntilPagesForAllOfItAreFree) {
  options_.limits.pages = 12;
  Start();
  ASSERT_TRUE(Add(4, 4).ok());  // first chunk: one page in each of four groups
  ASSERT_TRUE(Add(9, 1).ok());  // up to three pages in each
  ASSERT_TRUE(Add(1, 1).ok());
  Step();
  EXPECT_THAT(AdmittedSlots(), ElementsAre(0));
  for (const size_t running : {0U, 1U}) {  // the second needs every page, though not at once
    while (told(running).ended == 0) {
      Step();
      EXPECT_THAT(plan_.admits, IsEmpty());
    }
    Step();
    EXPECT_THAT(AdmittedSlots(), ElementsAre(0));
  }
}

TEST_F(PlanTest, APoolThatHoldsNoSequenceIsRefused) {
  options_.limits.pages = 3;
  const auto schedule = Schedule::Create(options_, model_.shape, &clock_);
  EXPECT_EQ(schedule.status().message(), "kv_pages is 3; expected at least 4");
}

TEST_F(PlanTest, SurplusPagesOfAPromptGoBackWhenTheRouterHasSpoken) {
  Start();
  ASSERT_TRUE(Add(4, 4).ok());
  StepWith({{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 4, .active = 0}}, {});
  EXPECT_EQ(schedule_->counters().groups[2].reserved, 1U);
  StepWith({}, {});  // room for the first generated token: position 4
  EXPECT_EQ(schedule_->counters().groups[0].reserved, 2U);
  EXPECT_EQ(schedule_->counters().groups[1].reserved, 2U);
  // No prompt row entered recursion 2, so the one page that it had still does.
  EXPECT_EQ(schedule_->counters().groups[2].reserved, 1U);
  EXPECT_EQ(schedule_->counters().groups[2].filled, 0U);
  EXPECT_EQ(schedule_->counters().groups[1].entries, 4U);

  ASSERT_TRUE(Add(8, 1).ok());  // end 7: two chunks
  StepWith({{.slot = 1, .ran = kRanEntry | kRanBlock, .rows = 4, .active = 4}}, {});
  StepWith({{.slot = 1, .ran = kRanBlock, .active = 0}}, {});
  EXPECT_EQ(schedule_->counters().groups[2].reserved, 3U);
  StepWith({{.slot = 1, .ran = kRanExit | kRanEntry | kRanBlock, .rows = 4, .active = 0}},
           {2, 2, 2, 2});
  StepWith({}, {});
  EXPECT_EQ(schedule_->counters().groups[2].reserved, 2U);  // slot 1: 4 entries of 8 possible
}

TEST_F(PlanTest, TheOldestPreemptsTheYoungestAndNobodyIsAdmitted) {
  options_.limits.areas = 4;
  options_.limits.prompt_rows = 8;
  options_.limits.pages = 12;
  Start();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Add(2, 7).ok());  // up to 8 entries in each group
  Step();  // a page in each of four groups, three times: the pool is empty
  EXPECT_THAT(AdmittedSlots(), ElementsAre(0, 1, 2));
  EXPECT_EQ(schedule_->counters().pages_free, 0U);
  while (schedule_->counters().preemptions_for_memory == 0) Step();
  EXPECT_THAT(RoomOf(0), Optional(Eq(5U)));
  EXPECT_THAT(DroppedSlots(), ElementsAre(2));
  EXPECT_THAT(plan_.admits, IsEmpty());
  EXPECT_EQ(schedule_->counters().waiting, 2U);
  const uint32_t tokens = static_cast<uint32_t>(told(2).tokens.size());
  EXPECT_GT(tokens, 0U);

  // Slot 1 is held at its room, for it is not the oldest: it neither preempts nor moves.
  while (told(0).ended == 0) {
    EXPECT_EQ(RoomOf(1), std::nullopt);
    Step();
    EXPECT_THAT(plan_.drops, IsEmpty());
  }
  EXPECT_THAT(told(1).tokens, SizeIs(3));
  Step();
  EXPECT_THAT(RoomOf(1), Optional(Eq(5U)));

  // Then the preempted sequence is resumed, before the one that has never run.
  while (plan_.admits.empty()) Step();
  EXPECT_EQ(plan_.admits[0].limits.prompt, 2 + tokens);
  EXPECT_EQ(plan_.admits[0].limits.end, 8U);
  EXPECT_EQ(plan_.admits[0].sampling.generated, 2U);
  while (schedule_->HasWork()) Step();
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(told(i).ending.generated_tokens, 7U);
    EXPECT_TRUE(told(i).in_order);
    EXPECT_EQ(told(i).started, 1);
  }
  EXPECT_EQ(told(0).ending.preemptions, 0U);
  EXPECT_EQ(told(2).ending.preemptions, 1U);
  EXPECT_GT(told(2).ending.recomputed_tokens, 0U);
}

TEST_F(PlanTest, ADroppedSlotChangesItsOwnerInTheSamePlan) {
  options_.limits.slots = 1;
  Start();
  ASSERT_TRUE(Add(1, 10).ok());
  ASSERT_TRUE(Add(4, 10).ok());
  plan_ = schedule_->Plan();
  EXPECT_TRUE(schedule_->Cancel(0));
  EXPECT_FALSE(schedule_->Cancel(0));
  plan_ = schedule_->Plan();
  EXPECT_THAT(DroppedSlots(), ElementsAre(0));
  EXPECT_THAT(AdmittedSlots(), ElementsAre(0));
  EXPECT_EQ(plan_.pages[0].page, 3U);  // the page freed last
  // The result of the first plan speaks of the cancelled sequence.
  CommitWith(1, {{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 1}}, {});
  CommitWith(2, {{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 4, .active = 4}}, {});
  EXPECT_EQ(schedule_->counters().groups[0].entries, 4U);
  EXPECT_EQ(told(0).ending.reason, EndReason::kCancelled);
}

TEST_F(PlanTest, ASequenceThatEndsByItselfIsNotDropped) {
  Start();
  ASSERT_TRUE(Add(1, 1).ok());
  while (schedule_->HasWork()) Step();
  ASSERT_TRUE(Add(1, 1).ok());
  Step();
  EXPECT_THAT(plan_.drops, IsEmpty());
  EXPECT_THAT(AdmittedSlots(), ElementsAre(0));
}

TEST_F(PlanTest, PromptLogprobsNeedTheTokenAfterAndLimitTheChunk) {
  options_.limits.ends = 2;
  Start();
  ScheduledSample sample = MakeSample(5, 0);
  sample.logprobs = 0;
  sample.prompt_logprobs = true;
  ASSERT_TRUE(schedule_->Add(sample).ok());
  Step();
  EXPECT_EQ(plan_.admits[0].wants, kWantsPromptLogprobs);
  EXPECT_EQ(plan_.admits[0].limits.chunk, 2U);
  EXPECT_EQ(plan_.admits[0].limits.end, 4U);  // the last prompt token's logits are not wanted
  EXPECT_THAT(TokenPositions(0), ElementsAre(0, 1, 2));
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(0).ending.reason, EndReason::kLength);
  EXPECT_THAT(told(0).prompt_depths, SizeIs(4));
  EXPECT_THAT(told(0).prompt_logprobs, SizeIs(4));
  EXPECT_THAT(told(0).tokens, IsEmpty());
}

TEST_F(PlanTest, ASampleWithoutRowsIsAnsweredWithoutASlot) {
  Start();
  ScheduledSample sample = MakeSample(1, 0);
  sample.logprobs = 0;
  sample.prompt_logprobs = true;
  ASSERT_TRUE(schedule_->Add(sample).ok());
  plan_ = schedule_->Plan();
  EXPECT_THAT(plan_.admits, IsEmpty());
  EXPECT_EQ(told(0).ended, 1);
  EXPECT_EQ(told(0).started, 0);
  EXPECT_EQ(told(0).ending.reason, EndReason::kLength);
  EXPECT_FALSE(schedule_->HasWork());
}

}  // namespace
}  // namespace recurve
