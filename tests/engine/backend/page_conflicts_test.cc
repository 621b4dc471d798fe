// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/page_conflicts.h"

#include <string>

#include "engine/backend/slot_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/page_pairs.h"

namespace recurve {
namespace {

using testing::HasSubstr;

TEST(PageConflicts, RefusesWhatStepForbidsAndNothingElse) {
  for (const PagePair& pair : PagePairs()) {
    SCOPED_TRACE(pair.name);
    SlotTable table(kPairsShape, kPairsLimits, /*vocab_size=*/50, kPairsEntriesPerPage);
    int evictions = 0;
    const auto evict = [&evictions](const Evict&) { ++evictions; };
    ASSERT_TRUE(table.Apply(PagePairsBegin(), evict).ok());
    const absl::Status status = table.Apply(pair.plan, evict);
    if (pair.refusal.empty()) {
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(evictions, static_cast<int>(pair.plan.evicts.size()));
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    for (const std::string& name : pair.refusal) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    }
  }
}

TEST(PageConflicts, AnEvictionNeedsItsPages) {
  SlotTable table(kPairsShape, kPairsLimits, /*vocab_size=*/50, kPairsEntriesPerPage);
  StepPlan plan = PagePairsBegin();
  plan.pages.erase(plan.pages.begin() + 1);
  const auto never = [](const Evict&) { FAIL(); };
  ASSERT_TRUE(table.Apply(plan, never).ok());
  plan.Clear();
  plan.evicts = {{0, 1, 12, 4}};
  EXPECT_THAT(std::string(table.Apply(plan, never).message()),
              HasSubstr("slot 0 has no page 1 of group 1"));
}

}  // namespace
}  // namespace recurve
