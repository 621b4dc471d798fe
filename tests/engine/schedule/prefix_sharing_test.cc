// SPDX-License-Identifier: Apache-2.0
// What is stored, found, awaited and adopted, without a schedule; prefixes_test.cc has the plans.
#include "engine/schedule/prefix_sharing.h"

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/schedule/stays.h"
#include "engine/schedule/waiting_queue.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::Each;
using testing::IsEmpty;

constexpr StepShape kOneRecursion{1, 0};  // groups 0 (entry), 1, 2 (exit)
constexpr uint32_t kPages = 24;

ScheduleOptions MakeOptions() {
  ScheduleOptions options;
  options.entries_per_page = {4, 4, 4};
  options.prefix_node_tokens = 4;
  options.vocab_size = 64;
  options.max_preemptions = 2;
  return options;
}

class PrefixSharingTest : public testing::Test {
 protected:
  ~PrefixSharingTest() override {
    for (const Sequence* sequence : running_) tables_.Release(sequence->slot);
  }

  // A sample whose prompt is `first`, `first` + 1, ... has been queued.
  Sequence& Add(uint32_t prompt, uint32_t first = 10, ScheduledSample sample = {}) {
    for (uint32_t i = 0; i < prompt; ++i) sample.prompt.push_back(first + i);
    sequences_.emplace_back(std::move(sample), options_, kOneRecursion, SteadyTime());
    queue_.Add(&sequences_.back());
    return sequences_.back();
  }
  Stay& Begin(Sequence& sequence) {
    queue_.TakeNext();
    running_.push_back(&sequence);
    return stays_.Begin(&sequence, /*wants_area=*/false, /*epoch=*/1, /*committed=*/0);
  }
  // The queue's next has been admitted, with pages for its prompt.
  Sequence& Run(Sequence& sequence) {
    Stay& stay = Begin(sequence);
    stay.state.stage = Stage::kEntry;
    EXPECT_TRUE(tables_.Extend(sequence.slot, stay.state, sequence.prompt));
    return sequence;
  }
  // Tokens from `first` up to `last` - 1 run.
  void Compute(Sequence& sequence, uint32_t first, uint32_t last) {
    sharing_.Store(sequence, first, std::vector<uint32_t>(last - first, 1));
  }
  void Leave(Sequence& sequence) {
    tables_.Release(sequence.slot);
    stays_.End(sequence.slot);
    std::erase(running_, &sequence);
    sharing_.StopLeading(sequence);
  }
  uint32_t Found(Sequence& sequence) { return sharing_.Find(sequence).tokens; }
  bool ParkNext() {
    Sequence& next = *queue_.Next();
    return sharing_.ParkNext(next, Found(next), running_);
  }
  void ForgetAll() {
    EXPECT_FALSE(sharing_.WithFreedPages([] { return false; }));
  }

  const ScheduleOptions options_ = MakeOptions();
  PagePool pool_{kPages};
  PageTables tables_{&pool_, 4, kOneRecursion, options_.entries_per_page};
  WaitingQueue queue_;
  Stays stays_{4, 4};
  PrefixSharing sharing_{options_, kOneRecursion, &pool_, &tables_, &queue_};
  std::deque<Sequence> sequences_;
  std::vector<Sequence*> running_;
  std::vector<PageCopy> copies_;
  std::vector<PageChange> changes_;
};

TEST_F(PrefixSharingTest, WholeChunksAreFoundAndTheLastTokenAlwaysRuns) {
  Sequence& first = Run(Add(11));
  Sequence& second = Add(11);
  Compute(first, 0, 3);
  EXPECT_EQ(Found(second), 0U);
  Compute(first, 3, 7);
  EXPECT_EQ(Found(second), 4U);
  Compute(first, 7, 11);
  const CachedPrefix prefix = sharing_.Find(second);
  EXPECT_EQ(prefix.tokens, 8U);
  EXPECT_EQ(prefix.count[1], 8U);
  EXPECT_THAT(prefix.depths, Each(1U));
  EXPECT_EQ(Found(Add(8)), 4U);
  EXPECT_EQ(Found(Add(9)), 8U);
  EXPECT_EQ(Found(Add(11, 11)), 0U) << "begins in another way";
}

TEST_F(PrefixSharingTest, OnlyKinFindIt) {
  Compute(Run(Add(9)), 0, 9);
  ScheduledSample sample;
  EXPECT_EQ(Found(Add(9, 10, sample)), 8U);
  sample.tenant = "other";
  EXPECT_EQ(Found(Add(9, 10, sample)), 0U);
  sample = {};
  sample.threshold_logit = 1.0F;
  EXPECT_EQ(Found(Add(9, 10, sample)), 0U);
  sample = {};
  sample.cache_prompt = false;
  EXPECT_EQ(Found(Add(9, 10, sample)), 0U);
}

TEST_F(PrefixSharingTest, ASequenceThatStaysAndDropsEntriesTakesNoPagesOfOthers) {
  ScheduledSample sample;
  sample.budget.policy = EvictionPolicy::kWindow;
  sample.budget.groups[1].entries = 16;
  Compute(Run(Add(9, 10, sample)), 0, 9);
  Sequence& sequence = Add(9, 10, sample);
  EXPECT_EQ(Found(sequence), 8U);
  sequence.stats.preemptions = options_.max_preemptions;
  EXPECT_FALSE(PrefixSharing::MayFind(sequence));
  EXPECT_EQ(Found(sequence), 0U);
}

TEST_F(PrefixSharingTest, TheNextIsParkedUntilItsLeaderHasStoredWhatBothHave) {
  Sequence& leader = Run(Add(14));
  Sequence& next = Add(13);
  ASSERT_TRUE(ParkNext());
  EXPECT_FALSE(queue_.HasNext());
  Compute(leader, 0, 8);
  EXPECT_FALSE(queue_.HasNext());
  Compute(leader, 8, 13);
  ASSERT_TRUE(queue_.HasNext());
  EXPECT_EQ(queue_.Next(), &next);
  EXPECT_EQ(Found(next), 12U);
  EXPECT_FALSE(ParkNext());
}

TEST_F(PrefixSharingTest, TheParkedComeBackWhenTheirLeaderLeaves) {
  Sequence& leader = Run(Add(14));
  Add(14);
  ASSERT_TRUE(ParkNext());
  Leave(leader);
  EXPECT_TRUE(queue_.HasNext());
}

TEST_F(PrefixSharingTest, NobodyWaitsForWhatWillNotCome) {
  Sequence& leader = Run(Add(14));
  Add(3);
  EXPECT_FALSE(ParkNext()) << "has no whole node in common";
  queue_.TakeNext();
  Add(14, 30);
  EXPECT_FALSE(ParkNext()) << "begins in another way";
  queue_.TakeNext();
  Compute(leader, 0, 14);
  ForgetAll();
  Sequence& late = Add(14);
  EXPECT_EQ(Found(late), 0U);
  EXPECT_FALSE(ParkNext()) << "was stored once and is not stored again";
}

TEST_F(PrefixSharingTest, AdoptionSharesFullPages) {
  Sequence& first = Run(Add(13));
  Compute(first, 0, 13);
  Sequence& second = Add(13);
  const CachedPrefix prefix = sharing_.Find(second);
  Stay& stay = Begin(second);
  sharing_.Adopt(stay, prefix);
  EXPECT_EQ(stay.state.position, 12U);
  EXPECT_EQ(stay.state.count[2], 12U);
  EXPECT_TRUE(tables_.Tell(second.slot, /*most=*/100, copies_, changes_));
  EXPECT_THAT(copies_, IsEmpty()) << "12 entries fill three pages";
  EXPECT_EQ(changes_.size(), 9U);
  EXPECT_EQ(second.prefix_state.stored, 12U);
  // What it goes on to compute is counted from there on.
  Compute(second, 12, 13);
  EXPECT_EQ(second.prefix_state.counts.size(), 3U);
}

TEST_F(PrefixSharingTest, WhatNobodyUsesGoesForTheCopiesOfPartlyFilledPages) {
  ScheduleOptions options = options_;
  options.prefix_node_tokens = 6;
  PrefixSharing sharing(options, kOneRecursion, &pool_, &tables_, &queue_);
  for (const uint32_t first : {30U, 10U}) {
    Sequence& sequence = Run(Add(6, first));
    sharing.Store(sequence, 0, std::vector<uint32_t>(6, 1));
    Leave(sequence);
  }
  EXPECT_EQ(pool_.cached(), 12U);
  std::vector<uint32_t> taken;
  ASSERT_TRUE(pool_.Allocate(pool_.free(), taken));

  Sequence& next = Add(7, 10);
  const CachedPrefix prefix = sharing.Find(next);
  ASSERT_EQ(prefix.tokens, 6U);
  sharing.Adopt(Begin(next), prefix);
  EXPECT_TRUE(tables_.Tell(next.slot, /*most=*/100, copies_, changes_));
  EXPECT_EQ(copies_.size(), 3U) << "two of six entries in each group";
  EXPECT_EQ(sharing.Find(Add(7, 10)).tokens, 6U);
  EXPECT_EQ(sharing.Find(Add(7, 30)).tokens, 0U) << "gave its pages to the copies";
  pool_.Free(taken);
}

TEST_F(PrefixSharingTest, PagesAreFreedUntilTheAttemptSucceedsOrNothingIsLeft) {
  Sequence& sequence = Run(Add(12));
  Compute(sequence, 0, 12);
  Leave(sequence);
  EXPECT_EQ(pool_.cached(), 9U);
  EXPECT_TRUE(sharing_.WithFreedPages([this] { return pool_.cached() == 3; }));
  EXPECT_EQ(Found(Add(12)), 4U) << "the last node goes first";
  ForgetAll();
  EXPECT_EQ(pool_.cached(), 0U);
}

}  // namespace
}  // namespace recurve
