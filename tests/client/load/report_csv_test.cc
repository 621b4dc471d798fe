// SPDX-License-Identifier: Apache-2.0
#include "client/load/report_csv.h"

#include <map>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::SizeIs;

std::vector<std::string> Split(const std::string& text, char at) {
  return absl::StrSplit(text, at);
}

TEST(ReportCsvTest, EachLoadIsARowOfTheSameColumns) {
  RequestRecord done;
  done.messages = {{0.5, 4}};
  done.generated_tokens = 4;
  done.ended = 1;
  LoadPlan plan;
  plan.max_in_flight = 3;
  plan.slo = Slo::Parse("e2e:900").value();
  const std::string text =
      ReportsCsv({.model_name = "a \"b\""}, {MakeReport(plan, {{done}, 0, 2}), MakeReport({}, {})});
  const std::vector<std::string> lines = Split(text, '\n');
  ASSERT_THAT(lines, SizeIs(4));  // the last one is empty
  const std::vector<std::string> names = Split(lines[0], ','), full = Split(lines[1], ',');
  ASSERT_EQ(full.size(), names.size());
  EXPECT_EQ(Split(lines[2], ',').size(), names.size());
  std::map<std::string, std::string> row;
  for (size_t i = 0; i < names.size(); ++i) row[names[i]] = full[i];
  EXPECT_EQ(row["model"], "\"a \"\"b\"\"\"");
  EXPECT_EQ(row["streams"], "3");
  EXPECT_EQ(row["rate"], "");
  EXPECT_EQ(row["generated_tokens_per_second"], "2.0");
  EXPECT_EQ(row["slo_met"], "false");
  EXPECT_EQ(row["time_to_first_token_seconds_p99"], "0.5");
  EXPECT_EQ(row["time_per_output_token_seconds_mean"], "");
  EXPECT_EQ(row["server_peak_kv_share"], "");
}

}  // namespace
}  // namespace recurve::client
