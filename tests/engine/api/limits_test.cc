// SPDX-License-Identifier: Apache-2.0
#include "engine/api/limits.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(StepLimitsTest, WhatIsLeftZeroBecomesAsManyAsSlots) {
  StepLimits limits = {.slots = 7};
  limits.FillIn();
  EXPECT_EQ(limits, (StepLimits{.slots = 7, .ends = 7, .block_rows = 7}));
}

TEST(StepLimitsTest, WhatIsGivenStays) {
  StepLimits limits = {.slots = 7, .ends = 3, .block_rows = 9};
  limits.FillIn();
  EXPECT_EQ(limits, (StepLimits{.slots = 7, .ends = 3, .block_rows = 9}));
}

}  // namespace
}  // namespace recurve
