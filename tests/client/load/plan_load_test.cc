// SPDX-License-Identifier: Apache-2.0
#include "client/load/plan_load.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(PlanLoadTest, AListIsASweep) {
  BenchFlags flags;
  EXPECT_EQ(PlanLoads(flags, {})->at(0).plan.max_in_flight, 8U);
  flags.streams = {1, 2, 4};
  ASSERT_EQ(PlanLoads(flags, {})->size(), 3U);
  EXPECT_EQ(PlanLoads(flags, {})->at(2).shape.max_in_flight, 4U);
  EXPECT_EQ(PlanLoads(flags, {})->at(2).shape.schedule, std::nullopt);
  EXPECT_EQ(PlanLoads(flags, {})->at(2).plan.measured.requests, kDefaultRequests);
  flags.rates = {5, 10};
  flags.duration = 30;
  const auto loads = PlanLoads(flags, {});
  ASSERT_EQ(loads->size(), 2U);
  EXPECT_EQ(loads->at(1).plan.arrivals.rate, 10);
  EXPECT_EQ(loads->at(1).plan.arrivals.name, "poisson");
  EXPECT_EQ(loads->at(1).shape.measured.seconds, 30);
  EXPECT_EQ(loads->at(1).shape.measured.requests, std::nullopt);
  EXPECT_TRUE(loads->at(1).shape.schedule.has_value());
}

TEST(PlanLoadTest, ATraceHasToLast) {
  const std::vector<TraceEntry> trace(10);
  BenchFlags flags;
  EXPECT_EQ(PlanTrace(flags, trace)->plan.measured.requests, 2U);  // behind 8 of warm-up
  flags.warmup = {.requests = 10};
  EXPECT_THAT(std::string(PlanTrace(flags, trace).status().message()),
              HasSubstr("--trace has 10 requests; --warmup is 10"));
  flags.warmup = {.seconds = 1};
  EXPECT_EQ(PlanTrace(flags, trace)->plan.measured.requests, 10U);
  flags.requests = 11;
  EXPECT_THAT(std::string(PlanTrace(flags, trace).status().message()),
              HasSubstr("--requests at least 11"));
}

}  // namespace
}  // namespace recurve::client
