// SPDX-License-Identifier: Apache-2.0
#include "client/load/bench_flags.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(BenchFlagsTest, ListsAreSweeps) {
  EXPECT_THAT(*ParseStreams("1,2,10000"), testing::ElementsAre(1, 2, 10000));
  EXPECT_THAT(*ParseRates("0.5,12"), testing::ElementsAre(0.5, 12));
  for (const char* text : {"", "1,", "0", "10001", "1.5", "-1"}) {
    EXPECT_THAT(std::string(ParseStreams(text).status().message()), HasSubstr("from 1 to 10000"));
  }
  for (const char* text : {"", "1,", "0", "nan", "inf", "-1", "2e6"}) {
    EXPECT_THAT(std::string(ParseRates(text).status().message()),
                HasSubstr("from 0.0001 to 1e+06"));
  }
}

TEST(BenchFlagsTest, ASearchNeedsAnObjectiveAndOneRate) {
  BenchFlags flags;
  flags.find_rate = true;
  flags.rates = {5};
  EXPECT_THAT(std::string(CheckBenchFlags(flags).message()), HasSubstr("--find_rate needs --slo"));
  flags.slo = Slo::Parse("ttft:5").value();
  EXPECT_TRUE(CheckBenchFlags(flags).ok());
  flags.requests_file = "x.csv";
  EXPECT_THAT(std::string(CheckBenchFlags(flags).message()), HasSubstr("--requests_file"));
  flags.rates = {5, 6};
  EXPECT_THAT(std::string(CheckBenchFlags(flags).message()), HasSubstr("one --rate"));
  flags.find_rate = false;
  EXPECT_THAT(std::string(CheckBenchFlags(flags).message()), HasSubstr("--requests_file"));
}

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
