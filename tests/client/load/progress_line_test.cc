// SPDX-License-Identifier: Apache-2.0
#include "client/load/progress_line.h"

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

TEST(ProgressLineTest, TellsWhatIsOnItsWay) {
  EXPECT_EQ(ProgressText({12.34, 50, 38}), "12.3 s: 50 requests sent, 38 ended, 12 in flight");
}

}  // namespace
}  // namespace recurve::client
