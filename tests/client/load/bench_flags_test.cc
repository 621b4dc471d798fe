// SPDX-License-Identifier: Apache-2.0
#include "client/load/bench_flags.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(BenchFlagsTest, BurstinessIsOfGammaArrivals) {
  BenchFlags flags;
  EXPECT_TRUE(CheckBenchFlags(flags).ok());
  flags.burstiness = 2;
  EXPECT_THAT(std::string(CheckBenchFlags(flags).message()), HasSubstr("--burstiness"));
  flags.arrivals = "gamma";
  EXPECT_TRUE(CheckBenchFlags(flags).ok());
  flags.burstiness.reset();
  EXPECT_THAT(std::string(CheckBenchFlags(flags).message()), HasSubstr("--burstiness"));
}

}  // namespace
}  // namespace recurve::client
