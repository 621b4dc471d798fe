// SPDX-License-Identifier: Apache-2.0
#include "client/load/sweep.h"

#include <nlohmann/json.hpp>

#include "client/load/report_json.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::Not;

// A closed loop of so many streams, with tokens/s and E2E.
Report Point(uint32_t streams, uint64_t tokens, double e2e) {
  Report report;
  report.plan.max_in_flight = streams;
  report.seconds = 1;
  report.window_tokens = tokens;
  report.e2e = Summarize({e2e});
  if (tokens > 0) report.outcomes[kCompleted].requests = 1;
  return report;
}

TEST(SweepTest, TheKneeHasTheHighestPower) {
  // Twice the throughput for nothing, then a little more of it for twice the latency.
  const std::vector<Report> points = {Point(1, 100, 1), Point(2, 200, 1), Point(4, 380, 1.1),
                                      Point(8, 400, 2), Point(16, 400, 4)};
  EXPECT_EQ(KneeOf(points), 2U);
  EXPECT_EQ(KneeOf({Point(1, 0, 0), Point(2, 5, 1)}), 1U);
  EXPECT_EQ(KneeOf({Point(1, 0, 0)}), std::nullopt);
  EXPECT_EQ(KneeOf({}), std::nullopt);
  const std::string text = SweepText("host:1", "demo", {points});
  EXPECT_THAT(text, HasSubstr("1100.0  <- knee\n"));
  EXPECT_THAT(text, Not(HasSubstr("good %")));
  const auto json = nlohmann::json::parse(SweepJson({}, {points}));
  EXPECT_EQ(json["points"].size(), 5U);
  EXPECT_EQ(json["knee"], 2);
  EXPECT_EQ(json["points"][4]["streams"], 16);
}

TEST(SweepTest, ASearchTellsTheRate) {
  Sweep search = {{Point(9, 100, 1)}, true, 12.5};
  search.points[0].plan.arrivals = {"poisson", 12.5, std::nullopt};
  search.points[0].plan.slo = Slo::Parse("ttft:100").value();
  search.points[0].goodput = Goodput{10, 10, 10, {}};
  std::string text = SweepText("host:1", "demo", search);
  EXPECT_THAT(text, HasSubstr("highest rate that keeps the SLO: 12.5 requests/s"));
  EXPECT_THAT(text, HasSubstr(" 100.0 met\n"));
  EXPECT_THAT(text, Not(HasSubstr("knee")));
  EXPECT_EQ(nlohmann::json::parse(SweepJson({}, search))["highest_rate"], 12.5);
  search.highest_rate.reset();
  EXPECT_THAT(SweepText("host:1", "demo", search), HasSubstr("no rate keeps the SLO"));
  EXPECT_TRUE(nlohmann::json::parse(SweepJson({}, search))["highest_rate"].is_null());
}

}  // namespace
}  // namespace recurve::client
