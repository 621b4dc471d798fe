// SPDX-License-Identifier: Apache-2.0
// Whom the rule admits, without a schedule.
#include "engine/schedule/admission_rule.h"

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr StepShape kOneRecursion{1, 0};  // groups 0 (entry), 1, 2 (exit)
constexpr uint32_t kPages = 18;

// Six tokens a page in each of three groups, so that ten tokens take six pages.
ScheduleOptions MakeOptions(uint32_t headroom) {
  ScheduleOptions options;
  options.entries_per_page = {6, 6, 6};
  options.headroom = headroom;
  options.max_preemptions = 1;
  return options;
}

class AdmissionRuleTest : public testing::Test {
 protected:
  ~AdmissionRuleTest() override {
    for (const Sequence* sequence : running_) tables_.Release(sequence->slot);
  }

  Sequence& Make(uint32_t prompt, uint32_t new_tokens, Priority priority = Priority::kNormal) {
    ScheduledSample sample;
    sample.prompt.assign(prompt, 1);
    sample.max_tokens = new_tokens;
    sample.priority = priority;
    return sequences_.emplace_back(std::move(sample), MakeOptions(0), kOneRecursion, SteadyTime());
  }
  // Puts it into a slot, with pages up to `room`.
  void Run(Sequence& sequence, uint32_t room) {
    Stay& stay = stays_.Begin(&sequence, sequence.tokens.size() > 1, /*epoch=*/1, /*committed=*/0);
    stay.state.stage = Stage::kEntry;
    stay.limits.prompt = sequence.prompt;
    stay.limits.end = sequence.end;
    stay.limits.room = room;
    ASSERT_TRUE(tables_.Extend(sequence.slot, stay.state, room));
    running_.push_back(&sequence);
  }
  bool CanAdmit(const Sequence& next) const { return rule_.CanAdmit(next, running_); }

  PagePool pool_{kPages};
  PageTables tables_{&pool_, 3, kOneRecursion, MakeOptions(0).entries_per_page};
  Stays stays_{/*slots=*/3, /*areas=*/1};
  const AdmissionRule rule_{MakeOptions(0), &stays_, &pool_, &tables_};
  std::deque<Sequence> sequences_;
  std::vector<Sequence*> running_;
};

TEST_F(AdmissionRuleTest, APromptOfSeveralTokensNeedsAnArea) {
  Run(Make(2, 1), 2);
  EXPECT_FALSE(rule_.HasSlotFor(Make(2, 1)));
  EXPECT_TRUE(rule_.HasSlotFor(Make(1, 1)));
  Run(Make(1, 1), 1);
  Run(Make(1, 1), 1);
  EXPECT_FALSE(rule_.HasSlotFor(Make(1, 1)));
}

TEST_F(AdmissionRuleTest, ThereMustBePagesForThePromptAndAToken) {
  EXPECT_TRUE(CanAdmit(Make(35, 100)));
  EXPECT_FALSE(CanAdmit(Make(36, 100)));
  EXPECT_TRUE(CanAdmit(Make(36, 1))) << "its last token needs no entries";
}

TEST_F(AdmissionRuleTest, PagesAreLeftToThePromptsThatRun) {
  Run(Make(18, 1), 6);  // 3 pages of 9
  EXPECT_EQ(pool_.free(), 15U);
  EXPECT_FALSE(rule_.HasPagesFor(Make(18, 100), {}, running_));
  EXPECT_TRUE(rule_.HasPagesFor(Make(17, 100), {}, running_));
}

TEST_F(AdmissionRuleTest, HeadroomIsLeftToThoseThatRunAsFarAsTheyMayGo) {
  Run(Make(6, 100), 6);
  const AdmissionRule rule(MakeOptions(/*headroom=*/7), &stays_, &pool_, &tables_);
  EXPECT_TRUE(rule_.HasPagesFor(Make(29, 100), {}, running_));
  EXPECT_FALSE(rule.HasPagesFor(Make(29, 100), {}, running_));  // 13 tokens take 6 pages more
  EXPECT_TRUE(rule.HasPagesFor(Make(17, 100), {}, running_));
}

TEST_F(AdmissionRuleTest, WhoCannotBePreemptedNeedsPagesForAllThatItMayBecome) {
  Sequence& sequence = Make(6, 37);
  EXPECT_TRUE(CanAdmit(sequence));
  sequence.stats.preemptions = 1;
  EXPECT_FALSE(CanAdmit(sequence));
}

TEST_F(AdmissionRuleTest, PagesOfAPrefixNeedNotBeFree) {
  CachedPrefix prefix;
  prefix.tokens = 6;
  std::vector<uint32_t> pages;
  ASSERT_TRUE(pool_.Allocate(3, pages));
  for (uint32_t group = 0; group < 3; ++group) {
    prefix.count[group] = 6;
    prefix.pages[group] = {pages[group]};
  }
  EXPECT_TRUE(rule_.HasPagesFor(Make(35, 100), prefix, running_)) << "another sequence has them";
  EXPECT_FALSE(rule_.HasPagesFor(Make(35, 100), {}, running_));
  pool_.Keep(pages);
  pool_.Free(pages);
  EXPECT_TRUE(rule_.HasPagesFor(Make(35, 100), prefix, running_)) << "only the cache has them";
  EXPECT_TRUE(rule_.HasPagesFor(Make(35, 100), {}, running_)) << "and it can forget them";
  pool_.Forget(pages);
}

TEST_F(AdmissionRuleTest, OthersOfLowerPriorityWouldDoIfTheyCanBePreempted) {
  Sequence& low = Make(35, 1, Priority::kLow);
  Run(low, 35);
  const Sequence& next = Make(11, 1);
  EXPECT_FALSE(CanAdmit(next));
  EXPECT_TRUE(rule_.CanAdmitInPlaceOfOthers(next, running_));
  EXPECT_FALSE(rule_.CanAdmitInPlaceOfOthers(Make(11, 1, Priority::kLow), running_));
  EXPECT_FALSE(rule_.CanAdmitInPlaceOfOthers(Make(37, 2), running_)) << "more than all pages";
  low.stats.preemptions = 1;
  EXPECT_FALSE(rule_.CanAdmitInPlaceOfOthers(next, running_));
}

}  // namespace
}  // namespace recurve
