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
ScheduledRequest MakeRequest() {
  ScheduledRequest request;
  request.prompt.assign(12, 1);
  request.budget.policy = EvictionPolicy::kWindow;
  request.budget.every = 8;
  for (uint32_t group = 0; group < kOneRecursion.groups(); ++group) {
    request.budget.groups[group].entries = 4;
  }
  return request;
}

class BoundariesTest : public testing::Test {
 protected:
  BoundariesTest() {
    stay_.sequence = &sequence_;
    stay_.state.stage = Stage::kEntry;
    stay_.boundary = 8;
    std::vector<PageChange> changes;
    EXPECT_TRUE(tables_.Extend(0, stay_.state, 8, changes));
    stay_.state.position = 8;
    stay_.state.count[0] = stay_.state.count[1] = 8;
    stay_.state.count[2] = 3;  // below its budget
    sequence_.slot = 0;
  }
  ~BoundariesTest() override { tables_.Release(0); }

  PagePool pool_{6};
  PageTables tables_{&pool_, 1, kOneRecursion, kEntriesPerPage};
  Boundaries boundaries_{kOneRecursion, kEntriesPerPage, &tables_};
  Sequence sequence_{MakeRequest(), ScheduleOptions(), kOneRecursion, SteadyTime()};
  Stay stay_;
  StepPlan plan_;
};

TEST_F(BoundariesTest, IsReachedWithNothingInFlight) {
  EXPECT_TRUE(Boundaries::IsAt(stay_));
  stay_.state.position = 7;
  EXPECT_FALSE(Boundaries::IsAt(stay_));
  stay_.state.position = 8;
  stay_.state.stage = Stage::kBlock;
  EXPECT_FALSE(Boundaries::IsAt(stay_));
}

TEST_F(BoundariesTest, GroupsOverTheirBudgetDropEntriesAndTheBoundaryMovesOn) {
  boundaries_.DropEntries(stay_, plan_);
  ASSERT_THAT(plan_.evicts, SizeIs(1));
  EXPECT_EQ(plan_.evicts[0].group, 1U);
  EXPECT_EQ(plan_.evicts[0].count, 8U);
  EXPECT_EQ(plan_.evicts[0].keep, 4U);
  EXPECT_EQ(stay_.state.count[1], 4U);
  EXPECT_EQ(stay_.state.count[2], 3U);
  EXPECT_EQ(stay_.state.count[0], 8U) << "has no pages";
  EXPECT_EQ(stay_.boundary, 16U);
}

TEST_F(BoundariesTest, SharedPagesAreCopiedInThePlanBefore) {
  const std::vector<uint32_t> shared(tables_.pages(0, 1).begin(), tables_.pages(0, 1).end());
  pool_.Keep(shared);  // as a cached prefix does
  boundaries_.DropEntries(stay_, plan_);
  EXPECT_THAT(plan_.evicts, IsEmpty());
  EXPECT_TRUE(Boundaries::IsAt(stay_));
  for (const uint32_t group : {0U, 1U, 2U}) {
    EXPECT_TRUE(boundaries_.CopyShared(stay_, group, plan_));
  }
  EXPECT_THAT(plan_.copies, SizeIs(2));
  EXPECT_THAT(plan_.pages, SizeIs(2));
  plan_.Clear();
  boundaries_.DropEntries(stay_, plan_);
  EXPECT_THAT(plan_.evicts, SizeIs(1));
  pool_.Forget(shared);
}

TEST_F(BoundariesTest, WithoutPagesForTheCopiesItWaits) {
  const std::vector<uint32_t> shared(tables_.pages(0, 1).begin(), tables_.pages(0, 1).end());
  pool_.Keep(shared);
  std::vector<uint32_t> taken;
  ASSERT_TRUE(pool_.Allocate(pool_.free() - 1, taken));
  EXPECT_FALSE(boundaries_.CopyShared(stay_, 1, plan_));
  EXPECT_THAT(plan_.copies, IsEmpty());
  EXPECT_TRUE(Boundaries::IsAt(stay_));
  pool_.Free(taken);
  pool_.Forget(shared);
}

}  // namespace
}  // namespace recurve
