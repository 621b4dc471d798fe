// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/page_tables.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "engine/backend/step.h"
#include "engine/kv/page_pool.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr StepShape kThreeRecursions{3, 0};  // groups 0 (entry), 1, 2, 3, 4 (exit)

MATCHER_P4(IsPage, slot, group, index, page, "") {
  return arg.slot == static_cast<uint32_t>(slot) && arg.group == static_cast<uint32_t>(group) &&
         arg.index == static_cast<uint32_t>(index) && arg.page == static_cast<uint32_t>(page);
}

SlotState Waiting() {
  SlotState state;
  state.stage = Stage::kEntry;
  return state;
}

constexpr size_t kAll = 1000;

// Extends, and tells of all.
bool Extend(PageTables& tables, uint32_t slot, const SlotState& state, uint32_t room,
            std::vector<PageChange>& changes) {
  std::vector<PageCopy> copies;
  const bool fits = tables.Extend(slot, state, room);
  EXPECT_TRUE(tables.Tell(slot, kAll, copies, changes));
  EXPECT_THAT(copies, IsEmpty());
  return fits;
}

bool Adopt(PageTables& tables, uint32_t slot, const CachedPrefix& prefix,
           std::vector<PageCopy>& copies, std::vector<PageChange>& changes) {
  const bool fits = tables.Adopt(slot, prefix);
  EXPECT_TRUE(tables.Tell(slot, kAll, copies, changes));
  return fits;
}

TEST(PageTablesTest, ExtendsEveryGroupWithLayers) {
  PagePool pool(10);
  PageTables tables(&pool, 2, kThreeRecursions, {0, 4, 4, 4, 8});
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 1, Waiting(), 5, changes));
  EXPECT_THAT(changes, ElementsAre(IsPage(1, 1, 0, 0), IsPage(1, 1, 1, 1), IsPage(1, 2, 0, 2),
                                   IsPage(1, 2, 1, 3), IsPage(1, 3, 0, 4), IsPage(1, 3, 1, 5),
                                   IsPage(1, 4, 0, 6)));
  EXPECT_THAT(tables.pages(1, 0), IsEmpty());
  EXPECT_THAT(tables.pages(1, 2), ElementsAre(2, 3));
  EXPECT_EQ(tables.group_pages(2), 2U);
  EXPECT_EQ(tables.PagesFor(5, KvBudget()), 7U);
  EXPECT_EQ(tables.GroupPagesFor(4, 9), 2U);

  changes.clear();
  EXPECT_FALSE(Extend(tables, 0, Waiting(), 5, changes));  // 7 pages, of which 3 are free
  EXPECT_THAT(changes, IsEmpty());
  EXPECT_THAT(tables.pages(0, 1), IsEmpty());
  EXPECT_EQ(pool.free(), 3U);
  tables.Release(1);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(PageTablesTest, TrimsWhatSurvivorsDidNotNeed) {
  PagePool pool(100);
  PageTables tables(&pool, 1, kThreeRecursions, {4, 4, 4, 4, 4});
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 0, Waiting(), 16, changes));
  // A span of 16 rows, of which 5 have been let into recursion 2.
  SlotState state = Waiting();
  const SlotLimits limits{16, 100, 16, 16};
  state = Resolve(state, {.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 16, .active = 5}, limits,
                  kThreeRecursions);
  tables.Trim(0, state, 16);
  EXPECT_EQ(tables.pages(0, 0).size(), 4U);
  EXPECT_EQ(tables.pages(0, 1).size(), 4U);
  EXPECT_EQ(tables.pages(0, 2).size(), 2U);
  EXPECT_EQ(tables.pages(0, 3).size(), 2U);
  EXPECT_EQ(tables.pages(0, 4).size(), 4U);
  EXPECT_EQ(tables.group_pages(3), 2U);
  EXPECT_EQ(pool.in_use(), 16U);
  tables.Release(0);
}

// The bound in the plainest way: everything that may still start does, and every row survives.
std::array<uint32_t, kMaxGroups> WorstCase(SlotState state, uint32_t room, const StepShape& shape) {
  const SlotLimits limits{0, room + 1, room, 1};
  while (state.position < room) {
    Outcome outcome;
    if (state.stage == Stage::kExit) outcome.ran = kRanExit;
    if (state.stage == Stage::kEntry) outcome.ran = kRanEntry;
    if (state.stage == Stage::kBlock) outcome.ran = kRanBlock;
    outcome.rows = 1;
    outcome.active = state.active;
    state = Resolve(state, outcome, limits, shape);
  }
  std::array<uint32_t, kMaxGroups> entries{};
  std::copy(state.count, state.count + kMaxGroups, entries.begin());
  return entries;
}

SlotState RandomState(std::mt19937& random, const StepShape& shape) {
  const auto draw = [&random](uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random() % (uint64_t{high} - low + 1));
  };
  SlotState state;
  state.stage = Stage::kEntry;
  state.position = draw(0, 20);
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    state.count[group] = draw(0, state.position);
  }
  const SlotLimits limits{1000, 1000, 1000, 1000};
  if (draw(0, 2) == 0) return state;
  const uint32_t rows = draw(1, 9);
  state = Resolve(state, {.slot = 0, .ran = kRanEntry, .rows = rows}, limits, shape);
  for (uint32_t passes = draw(0, shape.recursions); passes > 0; --passes) {
    if (state.stage != Stage::kBlock) break;
    const uint32_t active = draw(0, state.active);
    state = Resolve(state, {.slot = 0, .ran = kRanBlock, .active = active}, limits, shape);
  }
  return state;
}

// Random operations beside a naive model that knows only how many pages each table must have.
class RandomTables {
 public:
  explicit RandomTables(uint32_t seed)
      : random_(seed),
        shape_{Draw(1, 5), Draw(0, 3) == 0 ? 1U : 0U},
        per_page_(DrawPerPage()),
        pool_(Draw(1, 60)),
        tables_(&pool_, kSlots, shape_, per_page_) {}

  void Run() {
    for (int i = 0; i < 200; ++i) {
      const uint32_t slot = Draw(0, kSlots - 1);
      const uint32_t operation = Draw(0, 9);
      if (operation == 0) {
        tables_.Release(slot);
        held_[slot] = {};
      } else {
        const SlotState state = RandomState(random_, shape_);
        const uint32_t room = state.position + state.rows + Draw(0, 6);
        operation < 7 ? Extend(slot, state, room) : Trim(slot, state, room);
      }
      Compare();
    }
    for (uint32_t slot = 0; slot < kSlots; ++slot) tables_.Release(slot);
    EXPECT_EQ(pool_.in_use(), 0U);
  }

 private:
  static constexpr uint32_t kSlots = 3;
  using Pages = std::array<uint32_t, kMaxGroups>;

  uint32_t Draw(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_() % (high - low + 1));
  }
  EntriesPerPage DrawPerPage() {
    EntriesPerPage per_page{};
    for (uint32_t group = 0; group < shape_.groups(); ++group) per_page[group] = Draw(0, 5);
    return per_page;
  }
  Pages Needed(const SlotState& state, uint32_t room) const {
    Pages pages = WorstCase(state, room, shape_);
    for (uint32_t group = 0; group < kMaxGroups; ++group) {
      uint32_t count = 0;
      while (per_page_[group] > 0 && count * per_page_[group] < pages[group]) ++count;
      pages[group] = count;
    }
    return pages;
  }

  void Extend(uint32_t slot, const SlotState& state, uint32_t room) {
    const Pages needed = Needed(state, room);
    uint32_t missing = 0;
    Pages after{};
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      after[group] = std::max(needed[group], held_[slot][group]);
      missing += after[group] - held_[slot][group];
    }
    const bool fits = missing <= pool_.free();
    std::vector<PageChange> changes;
    ASSERT_EQ(recurve::Extend(tables_, slot, state, room, changes), fits);
    ASSERT_EQ(changes.size(), fits ? missing : 0);
    for (const PageChange& change : changes) {
      EXPECT_EQ(change.slot, slot);
      EXPECT_GE(change.index, held_[slot][change.group]);
      ASSERT_LT(change.index, tables_.pages(slot, change.group).size());
      EXPECT_EQ(change.page, tables_.pages(slot, change.group)[change.index]);
    }
    if (fits) held_[slot] = after;
  }

  void Trim(uint32_t slot, const SlotState& state, uint32_t room) {
    const Pages needed = Needed(state, room);
    tables_.Trim(slot, state, room);
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      held_[slot][group] = std::min(held_[slot][group], needed[group]);
    }
  }

  void Compare() const {
    std::set<uint32_t> pages;
    uint32_t total = 0;
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      uint32_t in_group = 0;
      for (uint32_t slot = 0; slot < kSlots; ++slot) {
        const auto held = tables_.pages(slot, group);
        ASSERT_EQ(held.size(), held_[slot][group]);
        pages.insert(held.begin(), held.end());
        in_group += static_cast<uint32_t>(held.size());
      }
      EXPECT_EQ(tables_.group_pages(group), in_group);
      total += in_group;
    }
    EXPECT_EQ(pages.size(), total) << "a page is in two places";
    EXPECT_EQ(pool_.in_use(), total);
  }

  std::mt19937 random_;
  const StepShape shape_;
  const EntriesPerPage per_page_;
  PagePool pool_;
  PageTables tables_;
  std::array<Pages, kSlots> held_{};
};

TEST(PageTablesTest, AgreesWithNaiveModelUnderRandomOperations) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomTables(seed).Run();
    if (testing::Test::HasFailure()) return;
  }
}

// A slot that has run 20 tokens of which the third recursion ran 9.
SlotState Ran20() {
  SlotState state;
  state.stage = Stage::kEntry;
  state.position = 20;
  const uint32_t counts[] = {20, 20, 15, 9, 20};
  std::copy(std::begin(counts), std::end(counts), state.count);
  return state;
}

// What `slot` holds in `state`, as the prefix cache would give it to others.
CachedPrefix PrefixOf(const PageTables& tables, uint32_t slot, const SlotState& state) {
  CachedPrefix prefix;
  prefix.tokens = state.position;
  for (uint32_t group = 0; group < 5; ++group) {
    prefix.count[group] = state.count[group];
    const auto pages = tables.pages(slot, group);
    prefix.pages[group].assign(pages.begin(), pages.end());
  }
  return prefix;
}

TEST(PageTablesTest, AdoptSharesFullPagesAndCopiesTheRest) {
  PagePool pool(40);
  const EntriesPerPage per_page = {8, 5, 5, 5, 8};
  PageTables tables(&pool, 2, {3, 0}, per_page);
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 0, Ran20(), 20, changes));
  const CachedPrefix prefix = PrefixOf(tables, 0, Ran20());
  changes.clear();
  std::vector<PageCopy> copies;
  ASSERT_TRUE(Adopt(tables, 1, prefix, copies, changes));
  // Groups 0 and 4 hold 8 + 8 + 4 entries, groups 1 and 2 full pages alone, group 3 holds 5 + 4.
  EXPECT_EQ(copies.size(), 3U);
  EXPECT_EQ(changes.size(), 3U + 4 + 3 + 2 + 3);
  EXPECT_EQ(tables.pages(1, 0)[0], tables.pages(0, 0)[0]);
  EXPECT_EQ(tables.pages(1, 0)[1], tables.pages(0, 0)[1]);
  EXPECT_EQ(copies[0].from, tables.pages(0, 0)[2]);
  EXPECT_EQ(copies[0].to, tables.pages(1, 0)[2]);
  EXPECT_NE(copies[0].from, copies[0].to);
  EXPECT_EQ(tables.own_pages(0), 3U);
  EXPECT_EQ(tables.own_pages(1), 3U);
  EXPECT_EQ(pool.in_use(), 15U + 3);
  tables.Release(0);
  EXPECT_EQ(tables.own_pages(1), 15U);
  tables.Release(1);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(PageTablesTest, ChangesAreToldAsFarAsThereIsSpace) {
  PagePool pool(40);
  PageTables tables(&pool, 2, {3, 0}, {8, 5, 5, 5, 8});
  std::vector<PageCopy> copies;
  std::vector<PageChange> changes;
  ASSERT_TRUE(tables.Extend(0, Ran20(), 20));
  EXPECT_FALSE(tables.IsTold(0));
  EXPECT_FALSE(tables.Tell(0, 4, copies, changes));
  EXPECT_EQ(changes.size(), 4U);
  EXPECT_FALSE(tables.Tell(0, 4, copies, changes)) << "no space";
  EXPECT_EQ(changes.size(), 4U);
  EXPECT_TRUE(tables.Tell(0, kAll, copies, changes));
  EXPECT_TRUE(tables.IsTold(0));
  EXPECT_EQ(changes.size(), 15U);
  EXPECT_THAT(changes[3], IsPage(0, 1, 0, tables.pages(0, 1)[0]));
  tables.Release(0);
}

TEST(PageTablesTest, WhatACopyIsMadeOfStaysOwnedUntilThatIsTold) {
  PagePool pool(40);
  PageTables tables(&pool, 2, {3, 0}, {8, 5, 5, 5, 8});
  std::vector<PageCopy> copies;
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 0, Ran20(), 20, changes));
  const CachedPrefix prefix = PrefixOf(tables, 0, Ran20());
  ASSERT_TRUE(tables.Adopt(1, prefix));
  tables.Release(0);
  EXPECT_EQ(pool.in_use(), 15U + 3);
  changes.clear();
  EXPECT_FALSE(tables.Tell(1, 2, copies, changes));  // the full pages of group 0
  EXPECT_THAT(copies, IsEmpty());
  EXPECT_EQ(pool.in_use(), 15U + 3);
  EXPECT_FALSE(tables.Tell(1, 3, copies, changes));
  ASSERT_EQ(copies.size(), 1U);
  EXPECT_EQ(copies[0].from, prefix.pages[0][2]);
  EXPECT_EQ(copies[0].to, tables.pages(1, 0)[2]);
  EXPECT_THAT(changes.back(), IsPage(1, 0, 2, copies[0].to));
  EXPECT_EQ(pool.in_use(), 15U + 2);
  tables.Release(1);  // before the other two are told
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(PageTablesTest, WhatIsLackingIsWhatExtendTakesUnlessABudgetForbidsIt) {
  PagePool pool(40);
  PageTables tables(&pool, 1, {3, 0}, {8, 5, 5, 5, 8});
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 0, Ran20(), 20, changes));
  EXPECT_EQ(tables.PagesLacking(0, Ran20(), 20, KvBudget()), 0U);
  // 4 + 6 + 5 + 4 + 4 pages, of which it has 3 + 4 + 3 + 2 + 3.
  EXPECT_EQ(tables.PagesLacking(0, Ran20(), 30, KvBudget()), 8U);
  KvBudget budget;
  budget.policy = EvictionPolicy::kWindow;
  budget.every = 1;
  budget.groups[1].entries = 20;
  ASSERT_EQ(budget.MostEntries(1, 30), 21U);  // so group 1 needs one page more, not two
  EXPECT_EQ(tables.PagesLacking(0, Ran20(), 30, budget), 7U);
  changes.clear();
  ASSERT_TRUE(Extend(tables, 0, Ran20(), 30, changes));
  EXPECT_EQ(changes.size(), 8U);
  tables.Release(0);
}

TEST(PageTablesTest, AdoptTakesNothingWhenThePoolLacksPagesForCopies) {
  PagePool pool(16);
  PageTables tables(&pool, 2, {3, 0}, {8, 5, 5, 5, 8});
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 0, Ran20(), 20, changes));
  const CachedPrefix prefix = PrefixOf(tables, 0, Ran20());
  changes.clear();
  std::vector<PageCopy> copies;
  EXPECT_FALSE(Adopt(tables, 1, prefix, copies, changes));
  EXPECT_THAT(copies, IsEmpty());
  EXPECT_THAT(changes, IsEmpty());
  EXPECT_EQ(tables.own_pages(0), 15U);
  tables.Release(0);
}

TEST(PageTablesTest, CopySharedMakesTheSlotTheOnlyOwner) {
  PagePool pool(10);
  PageTables tables(&pool, 1, {1, 0}, {0, 4, 0});
  SlotState state;
  state.stage = Stage::kEntry;
  state.position = 10;
  state.count[1] = 10;
  std::vector<PageChange> changes;
  ASSERT_TRUE(Extend(tables, 0, state, 20, changes));
  const std::vector<uint32_t> cached(tables.pages(0, 1).begin(), tables.pages(0, 1).begin() + 2);
  pool.Keep(cached);
  std::vector<PageCopy> copies;
  changes.clear();
  EXPECT_FALSE(tables.OwnsAlone(0, 1, 4));
  EXPECT_TRUE(tables.CopyShared(0, 1, 4, kAll, copies, changes));
  EXPECT_TRUE(tables.OwnsAlone(0, 1, 4));
  EXPECT_FALSE(tables.OwnsAlone(0, 1, 5));
  EXPECT_EQ(copies.size(), 1U);
  EXPECT_TRUE(tables.CopyShared(0, 1, 10, kAll, copies, changes));
  EXPECT_EQ(copies.size(), 2U);
  EXPECT_EQ(copies[1].from, cached[1]);
  EXPECT_EQ(copies[1].to, tables.pages(0, 1)[1]);
  EXPECT_TRUE(tables.CopyShared(0, 1, 10, kAll, copies, changes)) << "nothing is shared any more";
  EXPECT_EQ(copies.size(), 2U);
  EXPECT_EQ(pool.cached(), 2U);

  pool.Keep(tables.pages(0, 1).first(1));
  std::vector<uint32_t> rest;
  ASSERT_TRUE(pool.Allocate(pool.free(), rest));
  EXPECT_FALSE(tables.CopyShared(0, 1, 10, kAll, copies, changes));
  EXPECT_EQ(copies.size(), 2U);
  pool.Free(rest);
  pool.Forget(tables.pages(0, 1).first(1));
  pool.Forget(cached);
  tables.Release(0);
}

}  // namespace
}  // namespace recurve
