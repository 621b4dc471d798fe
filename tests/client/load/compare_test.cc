// SPDX-License-Identifier: Apache-2.0
#include "client/load/compare.h"

#include "client/load/report_json.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

std::string Json(uint32_t streams, uint64_t tokens, double ttft) {
  Report report;
  report.plan.max_in_flight = streams;
  report.seconds = 1;
  report.outcomes[kCompleted].requests = 1;
  report.window_tokens = tokens;
  report.ttft = Summarize({ttft});
  return ReportJson({}, report);
}

TEST(CompareTest, ShowsTheChangeOfEachFigure) {
  const auto text = CompareReports(Json(8, 100, 0.2), Json(8, 150, 0.1));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, ContainsRegex("\ntokens/s +100.00 +150.00 +\\+50.0 %\n"));
  EXPECT_THAT(*text, ContainsRegex("\nTTFT p99 ms +200.00 +100.00 +-50.0 %\n"));
  EXPECT_THAT(*text, Not(HasSubstr("ITL")));  // neither has one
  EXPECT_THAT(*text, Not(HasSubstr("not the same")));
}

TEST(CompareTest, SaysWhereLoadsDiffer) {
  const auto text = CompareReports(Json(8, 100, 0.2), Json(16, 150, 0.1));
  EXPECT_THAT(*text, HasSubstr("not the same: streams is 8 before and 16 after\n"));
}

TEST(CompareTest, TakesReportsAlone) {
  const std::string good = Json(8, 1, 1);
  for (const std::string text : {"", "[]", "{}", "{\"points\": []}"}) {
    EXPECT_THAT(std::string(CompareReports(text, good).status().message()),
                HasSubstr("BEFORE is no"));
    EXPECT_THAT(std::string(CompareReports(good, text).status().message()),
                HasSubstr("AFTER is no"));
  }
}

}  // namespace
}  // namespace recurve::client
