// SPDX-License-Identifier: Apache-2.0
// The device's planner under the random loads of the schedule. RECURVE_PLANNER_CASES sets their
// number, RECURVE_PLANNER_FIRST the seed of the first.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/planner_load.h"

namespace recurve::cuda {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(PlannerLoadTest, ListsAreTheCpusAndSamplesProduceWhatTheyProduceAlone) {
  LoadFigures load;
  PlannerFigures planner;
  int failures = 0;
  const uint64_t first = FromEnvironment("RECURVE_PLANNER_FIRST", 1);
  const uint64_t cases = FromEnvironment("RECURVE_PLANNER_CASES", kPlannerLoads);
  for (uint64_t seed = first; seed < first + cases && failures < 5; ++seed) {
    const std::string error = RunPlannerLoad(seed, load, planner);
    if (!error.empty()) ++failures;
    EXPECT_EQ(error, "") << "seed " << seed;
  }
  std::cout << cases << " loads, " << load.samples << " requests, " << load.steps << " steps, "
            << planner.mixed_steps << " of them with several recursions, " << planner.exit_rows
            << " rows of EXIT, " << planner.entry_rows << " of ENTRY and " << planner.block_rows
            << " of the block, " << planner.penalized_spans << " spans with penalties, "
            << planner.raw_logits << " rows of raw logits, " << planner.evictions << " evictions, "
            << planner.copies << " copies of pages\n";
  if (cases < 100) return;
  // The loads must reach everything that they are meant to test.
  EXPECT_GT(load.preemptions, cases / 15);
  EXPECT_GT(load.cached_tokens, cases / 2);
  EXPECT_GT(load.held, cases);
  EXPECT_GT(load.lowered_rows, cases);
  EXPECT_GT(planner.mixed_steps, cases);
  EXPECT_GT(planner.penalized_spans, 10 * cases);
  EXPECT_GT(planner.raw_logits, 10 * cases);
  EXPECT_GT(planner.evictions, 5 * cases);
  EXPECT_GT(planner.copies, 5 * cases);
}

TEST(PlannerLoadTest, RowsThatAreNotFiniteEndTheirSlotAlone) {
  PlannerFigures figures;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    ASSERT_EQ(RunBrokenLoad(seed, figures), "") << "seed " << seed;
  }
  EXPECT_GT(figures.not_finite, 40U);
}

TEST(PlannerLoadTest, CapsAreTheCpusHoweverOftenTheyChange) {
  for (uint64_t seed = 1; seed <= 8; ++seed) EXPECT_EQ(RunCapChanges(seed), "") << seed;
}

}  // namespace
}  // namespace recurve::cuda
