// SPDX-License-Identifier: Apache-2.0
// Random loads against the token-by-token oracle. RECURVE_SCHEDULE_CASES sets their number,
// RECURVE_SCHEDULE_FIRST the seed of the first.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/schedule/random_load.h"

namespace recurve {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(RandomLoadTest, EverySampleProducesWhatItProducesAlone) {
  LoadFigures figures;
  int failures = 0;
  const uint64_t first = FromEnvironment("RECURVE_SCHEDULE_FIRST", 1);
  const uint64_t cases = FromEnvironment("RECURVE_SCHEDULE_CASES", kLoads);
  for (uint64_t seed = first; seed < first + cases && failures < 5; ++seed) {
    const std::string error = RunRandomLoad(seed, FakeFault::kNone, figures);
    if (!error.empty()) ++failures;
    EXPECT_EQ(error, "") << "seed " << seed;
  }
  std::cout << cases << " loads, " << figures.samples << " requests, " << figures.refused
            << " refused, " << figures.steps << " steps, " << figures.tokens << " tokens, "
            << figures.preemptions << " preemptions for memory and " << figures.priority_preemptions
            << " for priority, " << figures.evicted << " entries evicted, "
            << figures.recomputed_rows << " rows recomputed, " << figures.cached_tokens
            << " tokens found in the prefix cache, " << figures.copies << " pages copied, "
            << figures.mixed_plans << " plans with copies and evictions, " << figures.full_plans
            << " full plans, " << figures.held << " held admissions, cap lowered "
            << figures.cap_falls << " and raised " << figures.cap_rises << " times, "
            << figures.lowered_rows << " rows under a lowered cap; ended by reason:";
  for (const uint64_t count : figures.by_reason) std::cout << ' ' << count;
  std::cout << '\n';
  if (cases < 1'000) return;
  // The load must reach everything that it is meant to test.
  EXPECT_GT(figures.preemptions, cases / 15);
  EXPECT_GT(figures.priority_preemptions, cases / 10);
  EXPECT_GT(figures.recomputed_rows, cases);
  EXPECT_GT(figures.evicted, 10 * cases);
  EXPECT_GT(figures.cached_tokens, cases / 2);
  EXPECT_GT(figures.copies, 5 * cases);
  EXPECT_GT(figures.mixed_plans, cases / 20);
  EXPECT_GT(figures.full_plans, 5 * cases);
  EXPECT_GT(figures.continued_plans, cases);
  EXPECT_LE(figures.continued_plans, figures.full_plans);
  EXPECT_GT(figures.held, cases);
  EXPECT_GT(figures.cap_falls, cases / 10);
  EXPECT_GT(figures.cap_rises, cases / 10);
  EXPECT_GT(figures.lowered_rows, 5 * cases);
  EXPECT_GT(figures.refused, cases / 100);
  for (size_t reason = 0; reason < static_cast<size_t>(EndReason::kFailed); ++reason) {
    EXPECT_GT(figures.by_reason[reason], cases / 100)
        << EndReasonName(static_cast<EndReason>(reason));
  }
}

}  // namespace
}  // namespace recurve
