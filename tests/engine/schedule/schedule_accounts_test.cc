// SPDX-License-Identifier: Apache-2.0
// What is counted of one sequence and of all, without a schedule.
#include "engine/schedule/schedule_accounts.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/schedule/stays.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

constexpr StepShape kTwoRecursions{2, 0};  // groups 0 (entry), 1, 2, 3 (exit)
constexpr EntriesPerPage kEntriesPerPage = {0, 4, 4, 8};
constexpr SteadyTime kStart = SteadyTime() + std::chrono::hours(1);

class ScheduleAccountsTest : public testing::Test {
 protected:
  ~ScheduleAccountsTest() override {
    for (const Sequence* sequence : running_) tables_.Release(sequence->slot);
  }

  Sequence& Make(uint32_t prompt, ScheduledSample sample = {}) {
    sample.prompt.assign(prompt, 1);
    return sequences_.emplace_back(std::move(sample), ScheduleOptions(), kTwoRecursions, kStart);
  }
  // Puts a sequence into a slot, with pages for `room` tokens.
  Stay& Begin(Sequence& sequence, uint32_t room) {
    running_.push_back(&sequence);
    Stay& stay = stays_.Begin(&sequence, /*wants_area=*/false, /*epoch=*/1, /*committed=*/0);
    stay.state.stage = Stage::kEntry;
    EXPECT_TRUE(tables_.Extend(sequence.slot, stay.state, room));
    return stay;
  }
  void CountRows(Sequence& sequence, uint32_t position, const std::vector<uint32_t>& depths) {
    accounts_.CountRows(sequence, position, depths, now_);
  }
  ScheduleCounters Now() { return accounts_.Now(running_, stays_, tables_); }

  SteadyTime now_ = kStart;
  PagePool pool_{100};
  PageTables tables_{&pool_, 2, kTwoRecursions, kEntriesPerPage};
  Stays stays_{2, 2};
  ScheduleAccounts accounts_{kTwoRecursions, kEntriesPerPage};
  std::deque<Sequence> sequences_;
  std::vector<Sequence*> running_;
};

TEST_F(ScheduleAccountsTest, RowsAndTokensAreCountedByDepth) {
  Sequence& sequence = Make(3);
  CountRows(sequence, 0, {1, 2, 2});
  now_ += milliseconds(1);
  accounts_.CountToken(sequence, 2, now_);  // of the prompt's last row
  now_ += milliseconds(1);
  CountRows(sequence, 3, {1});
  accounts_.CountToken(sequence, 1, now_);
  const SampleStats& stats = sequence.stats;
  const ScheduleCounters counters = Now();
  EXPECT_THAT(stats.prompt_depth.rows_by_depth, ElementsAre(1, 2));
  EXPECT_THAT(stats.prompt_depth.by_depth, ElementsAre(1, 2));
  EXPECT_THAT(stats.generated_depth.rows_by_depth, ElementsAre(1, 0));
  EXPECT_THAT(stats.generated_depth.by_depth, ElementsAre(1, 1));
  EXPECT_EQ(counters.prompt_depth.by_depth, stats.prompt_depth.by_depth);
  EXPECT_EQ(counters.prompt_depth.rows_by_depth, stats.prompt_depth.rows_by_depth);
  EXPECT_EQ(counters.generated_depth.by_depth, stats.generated_depth.by_depth);
  EXPECT_EQ(counters.generated_depth.rows_by_depth, stats.generated_depth.rows_by_depth);
  EXPECT_EQ(stats.generated_tokens, 2U);
  EXPECT_EQ(counters.generated_tokens, 2U);
  EXPECT_EQ(stats.first_token, kStart + milliseconds(1));
  EXPECT_EQ(stats.last_token, kStart + milliseconds(2));
}

TEST_F(ScheduleAccountsTest, RowsThatRunAgainAreCountedAsThatUntilAllHaveRun) {
  Sequence& sequence = Make(3);
  CountRows(sequence, 0, {1, 1, 1});
  sequence.told_rows = 3;
  sequence.recomputing_since = now_;
  now_ += milliseconds(5);
  CountRows(sequence, 0, {1, 1});
  EXPECT_TRUE(sequence.recomputing_since.has_value());
  now_ += milliseconds(5);
  CountRows(sequence, 2, {1, 2});
  EXPECT_FALSE(sequence.recomputing_since.has_value());
  EXPECT_EQ(sequence.stats.recomputed_tokens, 3U);
  EXPECT_EQ(sequence.stats.recompute_time, milliseconds(10));
  EXPECT_THAT(sequence.stats.prompt_depth.rows_by_depth, ElementsAre(3, 0));
  EXPECT_THAT(sequence.stats.generated_depth.rows_by_depth, ElementsAre(0, 1));
  EXPECT_EQ(Now().recomputed_tokens, 3U);
  EXPECT_EQ(Now().recompute_time, milliseconds(0)) << "counted when the request ends";
  accounts_.CountEnd(sequence.stats);
  EXPECT_EQ(Now().recompute_time, milliseconds(10));
}

TEST_F(ScheduleAccountsTest, RowsUnderALoweredCapAreCountedWithWhatTheyGaveUp) {
  ScheduledSample sample;
  sample.caps = {{2, 1}};  // its own, which nobody lowered
  Sequence& sequence = Make(4, sample);
  ASSERT_TRUE(sequence.caps.Limit(1, 1));
  CountRows(sequence, 0, {2, 1, 1, 1});
  EXPECT_EQ(sequence.stats.lowered_tokens, 1U);
  EXPECT_EQ(sequence.stats.lowest_cap, 1U);
  EXPECT_EQ(Now().lowered_tokens, 1U);
  EXPECT_EQ(Now().recursions_given_up, 1U);
}

TEST_F(ScheduleAccountsTest, WhatTheCacheHadCountsOnceASample) {
  CachedPrefix prefix;
  prefix.tokens = 4;
  prefix.depths = {2, 2, 1, 1};
  Sequence& sequence = Make(6);
  accounts_.CountPrefix(sequence, prefix, /*looked_up=*/true);
  EXPECT_EQ(sequence.stats.cached_tokens, 4U);
  EXPECT_THAT(sequence.stats.prompt_depth.by_depth, ElementsAre(2, 2));
  sequence.told_rows = 5;
  sequence.stats.preemptions = 1;
  accounts_.CountPrefix(sequence, prefix, /*looked_up=*/true);  // finds its own prefix again
  EXPECT_THAT(sequence.stats.prompt_depth.by_depth, ElementsAre(2, 2));
  accounts_.CountPrefix(Make(7), {}, /*looked_up=*/false);
  EXPECT_EQ(Now().prefix_tokens_wanted, 6U);
  EXPECT_EQ(Now().prefix_tokens_found, 4U);
  EXPECT_THAT(Now().prompt_depth.by_depth, ElementsAre(0, 0)) << "nothing was computed";
}

TEST_F(ScheduleAccountsTest, EvictionsAreCountedByGroupAndPolicy) {
  ScheduledSample sample;
  sample.budget.policy = EvictionPolicy::kRouter;
  const uint32_t router = Begin(Make(1, sample), 1).sequence->slot;
  sample.budget.policy = EvictionPolicy::kWindow;
  const uint32_t window = Begin(Make(1, sample), 1).sequence->slot;
  StepPlan plan;
  plan.evicts = {{router, 1, 10, 4}, {router, 2, 8, 4}, {window, 2, 9, 8}};
  accounts_.CountEvictions(plan, stays_);
  const ScheduleCounters counters = Now();
  EXPECT_EQ(counters.groups[1].evicted.router, 6U);
  EXPECT_EQ(counters.groups[2].evicted.router, 4U);
  EXPECT_EQ(counters.groups[2].evicted.window, 1U);
  EXPECT_EQ(counters.groups[2].evicted_by_all(), 5U);
  EXPECT_EQ(counters.groups[0].evicted_by_all(), 0U);
}

TEST_F(ScheduleAccountsTest, PeaksOutliveWhatIsHeldNow) {
  Stay& stay = Begin(Make(9), 9);
  for (uint32_t group = 0; group < kTwoRecursions.groups(); ++group) stay.state.count[group] = 9;
  accounts_.RaisePeaks(running_, stays_, tables_);
  stay.state.count[2] = 4;
  const ScheduleCounters counters = Now();
  EXPECT_EQ(counters.groups[0].entries, 9U);
  EXPECT_EQ(counters.groups[0].filled, 0U) << "has no layers";
  EXPECT_EQ(counters.groups[2].filled, 1U);
  EXPECT_EQ(counters.groups[2].filled_peak, 3U);
  EXPECT_EQ(counters.groups[2].reserved, 3U);
  EXPECT_EQ(counters.pages_filled, 3U + 1 + 2);
  EXPECT_EQ(counters.pages_filled_peak, 3U + 3 + 2);
  EXPECT_EQ(counters.pages_packed, 9 / 4.0 + 4 / 4.0 + 9 / 8.0);
  EXPECT_EQ(counters.groups[3].name, "exit");
}

}  // namespace
}  // namespace recurve
