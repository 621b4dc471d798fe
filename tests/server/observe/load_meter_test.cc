// SPDX-License-Identifier: Apache-2.0
// Rates of calls and of processor time, on clocks of the test's.
#include "server/observe/load_meter.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;

TEST(LoadMeterTest, TellsTheRatesOfTheLastWholePeriod) {
  const SteadyTime start{};
  std::chrono::nanoseconds cpu(0);
  LoadMeter meter(/*processors=*/2, start, [&cpu] { return cpu; });
  const auto count = [&](int at, bool error) {
    return meter.Count(error, start + milliseconds(at));
  };
  EXPECT_EQ(count(100, false).calls, 0.0);
  EXPECT_EQ(count(999, true).calls, 0.0);
  cpu = milliseconds(3000);
  LoadMeter::Rates rates = count(2000, false);
  EXPECT_EQ(rates.calls, 1.5);
  EXPECT_EQ(rates.errors, 0.5);
  EXPECT_EQ(rates.cpu, 0.75);
  // The next period has them until it is over.
  EXPECT_EQ(count(2500, true).calls, 1.5);
  cpu = milliseconds(3200);
  rates = count(6000, false);
  EXPECT_EQ(rates.calls, 0.5);
  EXPECT_EQ(rates.errors, 0.25);
  EXPECT_EQ(rates.cpu, 0.025);
}

TEST(LoadMeterTest, TheProcessTakesTime) {
  const std::chrono::nanoseconds before = LoadMeter::ProcessCpuTime();
  while (LoadMeter::ProcessCpuTime() == before) {
  }
  EXPECT_GT(LoadMeter::ProcessCpuTime(), before);
}

}  // namespace
}  // namespace recurve
