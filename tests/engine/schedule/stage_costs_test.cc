// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/stage_costs.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(CostCurveTest, IsFreeUntilSomethingIsSeen) {
  EXPECT_EQ(CostCurve().At(0), 0);
  EXPECT_EQ(CostCurve().At(7), 0);
}

TEST(CostCurveTest, GoesOnStraightLines) {
  CostCurve curve;
  curve.See(16, 40);
  EXPECT_EQ(curve.At(1), 40);
  EXPECT_EQ(curve.At(100), 40);
  curve.See(4, 10);
  EXPECT_EQ(curve.At(0), 0);
  EXPECT_EQ(curve.At(1), 10);  // whatever few rows cost is not known
  EXPECT_EQ(curve.At(4), 10);
  EXPECT_EQ(curve.At(8), 20);
  EXPECT_EQ(curve.At(16), 40);
  EXPECT_EQ(curve.At(32), 80);
  curve.See(8, 12);
  EXPECT_EQ(curve.At(6), 11);
  EXPECT_EQ(curve.At(12), 26);
}

TEST(CostCurveTest, TheLeastTimeCounts) {
  CostCurve curve;
  curve.See(4, 30);
  curve.See(4, 20);
  curve.See(4, 25);
  EXPECT_EQ(curve.At(4), 20);
  curve.See(1, 50);  // more rows took less
  EXPECT_EQ(curve.At(1), 20);
  curve.See(8, 18);
  EXPECT_EQ(curve.At(1), 18);
  EXPECT_EQ(curve.At(4), 18);
  EXPECT_EQ(curve.At(9), 18);
}

}  // namespace
}  // namespace recurve
