// SPDX-License-Identifier: Apache-2.0
// What one sequence does at its boundary, without a schedule.
#include "engine/schedule/boundaries.h"

#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr StepShape kOneRecursion{1, 0};               // groups 0 (entry), 1, 2 (exit)
constexpr EntriesPerPage kEntriesPerPage = {0, 4, 4};  // the entry group has no layers

// A budget of four entries in each group, and a boundary every eight tokens.
ScheduledSample MakeSample() {
  ScheduledSample sample;
  sample.prompt.assign(12, 1);
  sample.budget.policy = EvictionPolicy::kWindow;
  sample.budget.every = 8;
  for (uint32_t group = 0; group < kOneRecursion.groups(); ++group) {
    sample.budget.groups[group].entries = 4;
  }
  return sample;
}

class BoundariesTest : public testing::Test {
 protected:
  BoundariesTest() {
    stay_.sequence = &sequence_;
    stay_.state.stage = Stage::kEntry;
    stay_.boundary = 8;
    EXPECT_TRUE(tables_.Extend(0, stay_.state, 8));
    Tell();
    stay_.state.position = 8;
    stay_.state.count[0] = stay_.state.count[1] = 8;
    stay_.state.count[2] = 3;  // below its budget
    sequence_.slot = 0;
  }
  ~BoundariesTest() override { tables_.Release(0); }

  void Tell() {
    std::vector<PageCopy> copies;
    std::vector<PageChange> changes;
    EXPECT_TRUE(tables_.Tell(0, /*most=*/100, copies, changes));
  }
  StepPlan& plan() { return builder_.plan(); }

  PagePool pool_{8};
  PageTables tables_{&pool_, 1, kOneRecursion, kEntriesPerPage};
  Boundaries boundaries_{kOneRecursion, kEntriesPerPage, &tables_};
  Sequence sequence_{MakeSample(), ScheduleOptions(), kOneRecursion, SteadyTime()};
  Stay stay_;
  PlanBuilder builder_{BackendLimits()};
};

TEST_F(BoundariesTest, IsReachedWithNothingInFlight) {
  EXPECT_TRUE(boundaries_.IsAt(stay_));
  stay_.state.position = 7;
  EXPECT_FALSE(boundaries_.IsAt(stay_));
  stay_.state.position = 8;
  stay_.state.stage = Stage::kBlock;
  EXPECT_FALSE(boundaries_.IsAt(stay_));
}

TEST_F(BoundariesTest, IsNotReachedWhileSomePageIsLeftToBeTold) {
  ASSERT_TRUE(tables_.Extend(0, stay_.state, 12));
  EXPECT_FALSE(boundaries_.IsAt(stay_));
  Tell();
  EXPECT_TRUE(boundaries_.IsAt(stay_));
}

TEST_F(BoundariesTest, APlanWithoutSpaceLeavesItWhereItIs) {
  BackendLimits limits;
  limits.plan_changes = kMaxGroups;
  PlanBuilder full(limits);
  full.plan().evicts.resize(kMaxGroups);
  boundaries_.DropEntries(stay_, full);
  EXPECT_THAT(full.plan().evicts, SizeIs(kMaxGroups));
  EXPECT_TRUE(boundaries_.IsAt(stay_));
}

TEST_F(BoundariesTest, CopiesAreMadeAsFarAsThePlanHasSpace) {
  const std::vector<uint32_t> shared(tables_.pages(0, 1).begin(), tables_.pages(0, 1).end());
  pool_.Keep(shared);
  BackendLimits limits;
  limits.plan_changes = 1;
  PlanBuilder builder(limits);
  for (int plan = 0; plan < 2; ++plan) {
    builder.Begin(1, 1);
    boundaries_.DropEntries(stay_, builder);
    EXPECT_THAT(builder.plan().evicts, IsEmpty());
    EXPECT_TRUE(boundaries_.CopyShared(stay_, 1, builder));
    EXPECT_TRUE(boundaries_.CopyShared(stay_, 1, builder)) << "pages are not what is lacking";
    EXPECT_THAT(builder.plan().copies, SizeIs(1));
  }
  boundaries_.DropEntries(stay_, builder);
  EXPECT_THAT(builder.plan().evicts, SizeIs(1));
  pool_.Forget(shared);
}

TEST_F(BoundariesTest, GroupsOverTheirBudgetDropEntriesAndTheBoundaryMovesOn) {
  boundaries_.DropEntries(stay_, builder_);
  ASSERT_THAT(plan().evicts, SizeIs(1));
  EXPECT_EQ(plan().evicts[0].group, 1U);
  EXPECT_EQ(plan().evicts[0].count, 8U);
  EXPECT_EQ(plan().evicts[0].keep, 4U);
  EXPECT_EQ(stay_.state.count[1], 4U);
  EXPECT_EQ(stay_.state.count[2], 3U);
  EXPECT_EQ(stay_.state.count[0], 8U) << "has no pages";
  EXPECT_EQ(stay_.boundary, 16U);
}

TEST_F(BoundariesTest, SharedPagesAreCopiedInThePlanBefore) {
  const std::vector<uint32_t> shared(tables_.pages(0, 1).begin(), tables_.pages(0, 1).end());
  pool_.Keep(shared);  // as a cached prefix does
  boundaries_.DropEntries(stay_, builder_);
  EXPECT_THAT(plan().evicts, IsEmpty());
  EXPECT_TRUE(boundaries_.IsAt(stay_));
  for (const uint32_t group : {0U, 1U, 2U}) {
    EXPECT_TRUE(boundaries_.CopyShared(stay_, group, builder_));
  }
  EXPECT_THAT(plan().copies, SizeIs(2));
  EXPECT_THAT(plan().pages, SizeIs(2));
  plan().Clear();
  boundaries_.DropEntries(stay_, builder_);
  EXPECT_THAT(plan().evicts, SizeIs(1));
  pool_.Forget(shared);
}

TEST_F(BoundariesTest, WithoutPagesForTheCopiesItWaits) {
  const std::vector<uint32_t> shared(tables_.pages(0, 1).begin(), tables_.pages(0, 1).end());
  pool_.Keep(shared);
  std::vector<uint32_t> taken;
  ASSERT_TRUE(pool_.Allocate(pool_.free() - 1, taken));
  EXPECT_FALSE(boundaries_.CopyShared(stay_, 1, builder_));
  EXPECT_THAT(plan().copies, IsEmpty());
  EXPECT_TRUE(boundaries_.IsAt(stay_));
  pool_.Free(taken);
  pool_.Forget(shared);
}

}  // namespace
}  // namespace recurve
