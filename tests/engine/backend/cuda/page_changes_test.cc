// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/page_changes.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/page_load.h"

namespace recurve::cuda {
namespace {

TEST(PageChangesTest, EvictionsAndCopiesAreWhatTheRulesSay) {
  for (uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(RunPageChanges(seed), "") << seed;
}

}  // namespace
}  // namespace recurve::cuda
