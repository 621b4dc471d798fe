// SPDX-License-Identifier: Apache-2.0
// Figures of `recurve bench`, from messages at known times.
#include "client/cli/bench_report.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

v1::GenerateResponse Message(int tokens, uint32_t generated) {
  v1::GenerateResponse message;
  for (int i = 0; i < tokens; ++i) message.add_tokens()->set_depth(3);
  message.mutable_usage()->set_generated_tokens(generated);
  return message;
}

v1::GenerateResponse LastMessage(uint32_t generated, double mean_depth) {
  v1::GenerateResponse message = Message(0, generated);
  message.mutable_final()->mutable_generated_depth()->set_mean_depth(mean_depth);
  return message;
}

TEST(BenchReportTest, TimesAreAsDefined) {
  RequestRecord record;
  record.Hear(Message(0, 1), 0.5);  // text held back
  record.Hear(Message(3, 3), 1.0);
  record.Hear(Message(2, 5), 2.0);
  record.Hear(LastMessage(5, 1.5), 7.0);
  record.end_to_end = 7.5;
  EXPECT_THAT(record.inter_token, ElementsAre(0.5, 0.5));
  const Report report = MakeReport(1, {{record}, 10.0});
  EXPECT_DOUBLE_EQ(report.ttft.mean, 1.0);
  EXPECT_DOUBLE_EQ(report.tpot.mean, 0.25);  // 1 s over 4
  EXPECT_DOUBLE_EQ(report.itl.mean, 0.5);
  EXPECT_DOUBLE_EQ(report.e2e.mean, 7.5);
  EXPECT_EQ(report.generated_tokens, 5U);
}

TEST(BenchReportTest, MeanDepthIsTheServersWeightedByRows) {
  RequestRecord shallow, deep, single, broken;
  shallow.Hear(Message(4, 4), 1.0);
  shallow.Hear(LastMessage(4, 1.0), 1.0);  // 3 rows
  deep.Hear(Message(2, 2), 1.0);
  deep.Hear(LastMessage(2, 3.0), 1.0);  // 1 row
  single.Hear(Message(1, 1), 1.0);
  single.Hear(LastMessage(1, 0.0), 1.0);  // none
  broken.Hear(Message(9, 9), 1.0);        // no last message, nothing known
  broken.status = absl::UnavailableError("gone");
  const Report report = MakeReport(1, {{shallow, deep, single, broken}, 1.0});
  EXPECT_DOUBLE_EQ(report.mean_depth.value_or(0), 1.5);
  EXPECT_EQ(report.tpot.count, 2U);
  EXPECT_EQ(report.ttft.count, 3U);
}

RequestRecord Failed(const absl::Status& status) {
  RequestRecord record;
  record.status = status;
  return record;
}

TEST(BenchReportTest, FailuresSayWhy) {
  const Report report = MakeReport(
      1, {{Failed(absl::InvalidArgumentError("prompt is long")), RequestRecord(),
           Failed(absl::UnavailableError("\x1b[2J")), Failed(absl::InvalidArgumentError("another")),
           Failed(absl::CancelledError("\xFF"))},
          1.0});
  EXPECT_FALSE(report.all_ok());
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(text, HasSubstr("CANCELLED 1 INVALID_ARGUMENT 2 OK 1 UNAVAILABLE 1\n"));
  EXPECT_THAT(text, HasSubstr("INVALID_ARGUMENT, first: prompt is long\n"));
  EXPECT_THAT(text, HasSubstr("UNAVAILABLE, first: \xE2\x90\x9B[2J\n"));
  EXPECT_THAT(text, Not(HasSubstr("another")));
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["requests_by_status"]["INVALID_ARGUMENT"], 2);
  EXPECT_EQ(json["first_message_by_status"]["INVALID_ARGUMENT"], "prompt is long");
  EXPECT_EQ(json["first_message_by_status"]["CANCELLED"], "\xEF\xBF\xBD");
  EXPECT_FALSE(json["first_message_by_status"].contains("OK"));
}

TEST(BenchReportTest, NothingHasNoFigures) {
  const Report report = MakeReport(1, {{Failed(absl::UnavailableError("gone"))}, 1.0});
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(text, ContainsRegex("E2E( +-){7}\n"));
  EXPECT_THAT(text, HasSubstr("mean depth - of"));
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["end_to_end_seconds"]["count"], 0);
  EXPECT_TRUE(json["end_to_end_seconds"]["mean"].is_null());
  EXPECT_TRUE(json["end_to_end_seconds"]["p99"].is_null());
  EXPECT_TRUE(json["mean_depth"].is_null());
  const std::string some = ReportText("host:1", {}, MakeReport(1, {{RequestRecord()}, 1.0}));
  EXPECT_THAT(some, ContainsRegex("E2E( +0.00){7}\n"));
}

TEST(BenchReportTest, BothFormsTellWhatTheFiguresAre) {
  const Report report = MakeReport(1, {{RequestRecord()}, 1.0});
  const v1::GetModelInfoResponse info;
  EXPECT_THAT(ReportText("host:1", info, report), HasSubstr(DefinitionsText()));
  const auto json = nlohmann::json::parse(ReportJson(info, report));
  for (const auto& [key, text] : json["definitions"].items()) {
    EXPECT_TRUE(json.contains(key) || key == "percentiles") << key;
    EXPECT_THAT(DefinitionsText(), HasSubstr(text.get<std::string>()));
  }
}

}  // namespace
}  // namespace recurve::client
