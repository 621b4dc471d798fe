// SPDX-License-Identifier: Apache-2.0
#include "server/observe/line_limit.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(LineLimitTest, AdmitsABurstAndThenOneASecond) {
  LineLimit limit;
  const SteadyTime start = SteadyTime() + seconds(1000);
  const auto admitted = [&limit](SteadyTime now) {
    uint64_t count = 0;
    for (int i = 0; i < 100; ++i) count += limit.Admit(now) ? 1 : 0;
    return count;
  };
  EXPECT_EQ(admitted(start), LineLimit::kBurst);
  EXPECT_EQ(limit.TakeSuppressed(), 100 - LineLimit::kBurst);
  EXPECT_EQ(limit.TakeSuppressed(), 0U);
  EXPECT_EQ(admitted(start + milliseconds(999)), 0U);
  EXPECT_EQ(admitted(start + milliseconds(1000)), 1U);
  EXPECT_EQ(admitted(start + milliseconds(3500)), 2U);
  EXPECT_EQ(admitted(start + milliseconds(4000)), 1U);
  EXPECT_EQ(limit.TakeSuppressed(), 396U);
  EXPECT_EQ(admitted(start + seconds(3600)), LineLimit::kBurst);
}

}  // namespace
}  // namespace recurve
