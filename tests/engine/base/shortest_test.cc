// SPDX-License-Identifier: Apache-2.0
#include "engine/base/shortest.h"

#include <limits>

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(ShortestTest, HasAsManyDigitsAsItTakes) {
  EXPECT_EQ(Shortest(100.0F), "100");
  EXPECT_EQ(Shortest(100.00001F), "100.00001");
  EXPECT_EQ(Shortest(0.1F), "0.1");
  EXPECT_EQ(Shortest(-1e-7F), "-1e-07");
  EXPECT_EQ(Shortest(1.0000000000000002), "1.0000000000000002");
  EXPECT_EQ(Shortest(std::numeric_limits<double>::lowest()), "-1.7976931348623157e+308");
  EXPECT_EQ(Shortest(std::numeric_limits<float>::quiet_NaN()), "nan");
  EXPECT_EQ(Shortest(-std::numeric_limits<float>::infinity()), "-inf");
}

}  // namespace
}  // namespace recurve
