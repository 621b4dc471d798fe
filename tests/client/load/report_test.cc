// SPDX-License-Identifier: Apache-2.0
// Figures of `recurve bench`, from messages at known times.
#include "client/load/report.h"

#include <nlohmann/json.hpp>

#include "client/load/definitions.h"
#include "client/load/report_json.h"
#include "client/load/report_text.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

Heard Message(uint32_t tokens, uint32_t generated) {
  Heard message;
  message.tokens = tokens;
  message.generated_tokens = generated;
  return message;
}

Heard LastMessage(uint32_t generated, double mean_depth) {
  Heard message = Message(0, generated);
  message.mean_depth = mean_depth;
  message.generated_rows = generated - 1;
  return message;
}

RequestRecord Completed(uint32_t prompt, uint32_t cached, uint32_t generated) {
  RequestRecord record;
  Heard message = Message(generated, generated);
  message.prompt_tokens = prompt;
  message.cached_tokens = cached;
  record.Hear(message, 1.0);
  record.ended = 1.0;
  return record;
}

// Of a load whose window is the first `seconds`.
LoadResult Result(std::vector<RequestRecord> records, double seconds) {
  return {std::move(records), 0, seconds};
}

TEST(ReportTest, TimesAreAsDefined) {
  RequestRecord record;
  record.intended = 0.25;
  record.sent = 0.375;
  record.Hear(Message(0, 1), 0.5);  // text held back
  record.Hear(Message(3, 3), 1.0);
  record.Hear(Message(2, 5), 2.0);
  record.Hear(LastMessage(5, 1.5), 7.0);
  record.ended = 7.5;
  EXPECT_THAT(record.inter_token_latencies(), ElementsAre(0.5, 0.5));
  const Report report = MakeReport({}, Result({record}, 10.0));
  EXPECT_DOUBLE_EQ(report.ttft.mean, 0.75);
  EXPECT_DOUBLE_EQ(report.tpot.mean, 0.5);  // 1 s over 2: the first three came together
  EXPECT_DOUBLE_EQ(report.itl.mean, 0.5);
  EXPECT_DOUBLE_EQ(report.e2e.mean, 7.25);
  EXPECT_DOUBLE_EQ(report.client_queue.mean, 0.125);
  EXPECT_EQ(report.generated_tokens, 5U);
}

// A warm-up request that reaches into the window, and a measured one that reaches out of it.
TEST(ReportTest, RatesAreOfWhatFallsIntoTheWindow) {
  RequestRecord early = Completed(10, 0, 0), late = Completed(20, 0, 0),
                before = Completed(40, 0, 0);
  early.is_measured = before.is_measured = false;
  before.messages = {{1.5, 9}};
  before.ended = 1.9;
  early.messages = {{1, 1}, {2, 2}, {3, 4}};
  early.ended = 3;
  late.messages = {{5, 8}, {7, 16}};
  late.ended = 7;
  const Report report = MakeReport({}, {{before, early, late}, 2, 6});
  EXPECT_EQ(report.seconds, 4);
  EXPECT_EQ(report.window_tokens, 2U + 4U + 8U);
  EXPECT_EQ(report.window_requests, 1U);
  EXPECT_EQ(report.window_prompt_tokens, 10U);
  EXPECT_EQ(report.sent(), 1U);
  EXPECT_EQ(report.e2e.count, 1U);
  EXPECT_EQ(report.prompt_tokens, 20U);
}

TEST(ReportTest, MeanDepthIsTheServersWeightedByRows) {
  RequestRecord shallow, deep, single, broken;
  shallow.Hear(Message(4, 4), 1.0);
  shallow.Hear(LastMessage(4, 1.0), 1.0);  // 3 rows
  deep.Hear(Message(2, 2), 1.0);
  deep.Hear(LastMessage(2, 3.0), 1.0);  // 1 row
  single.Hear(Message(1, 1), 1.0);
  single.Hear(LastMessage(1, 0.0), 1.0);  // none
  broken.Hear(Message(9, 9), 1.0);        // no last message, nothing known
  broken.status = absl::UnavailableError("gone");
  const Report report = MakeReport({}, Result({shallow, deep, single, broken}, 1.0));
  EXPECT_DOUBLE_EQ(report.mean_depth.value_or(0), 1.5);
  EXPECT_EQ(report.ttft.count, 3U);
}

RequestRecord Failed(const absl::Status& status) {
  RequestRecord record;
  record.status = status;
  return record;
}

TEST(ReportTest, FailuresSayWhy) {
  const Report report = MakeReport(
      {},
      Result({Failed(absl::InvalidArgumentError("prompt is long")), RequestRecord(),
              Failed(absl::UnavailableError("\x1b[2J")),
              Failed(absl::InvalidArgumentError("another")), Failed(absl::CancelledError("\xFF"))},
             2.0));
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(
      text, HasSubstr("INVALID_ARGUMENT 2 (1.00/s, 0 tokens generated), first: prompt is long\n"));
  EXPECT_THAT(text,
              HasSubstr("UNAVAILABLE 1 (0.50/s, 0 tokens generated), first: \xE2\x90\x9B[2J\n"));
  EXPECT_THAT(text, Not(HasSubstr("another")));
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["requests_by_status"]["INVALID_ARGUMENT"], 2);
  EXPECT_EQ(json["first_message_by_status"]["INVALID_ARGUMENT"], "prompt is long");
  EXPECT_EQ(json["first_message_by_status"]["CANCELLED"], "\xEF\xBF\xBD");
  EXPECT_FALSE(json["first_message_by_status"].contains("OK"));
}

TEST(ReportTest, RatesAreOfCompletedRequests) {
  RequestRecord late = Completed(10, 0, 20);
  late.status = absl::DeadlineExceededError("late");
  RequestRecord drained = Completed(10, 0, 30);
  drained.drained = true;
  LoadResult load = Result({Completed(10, 0, 5), Completed(10, 0, 5), late, drained}, 2.0);
  for (int i = 0; i < 996; ++i)
    load.records.push_back(Failed(absl::ResourceExhaustedError("full")));
  LoadPlan plan;
  plan.measured.requests = 1000;
  const Report report = MakeReport(plan, load);
  EXPECT_EQ(report.completed(), 2U);
  EXPECT_EQ(report.e2e.count, 2U);
  EXPECT_EQ(report.ttft.count, 2U);
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["requests_completed"], 2);
  EXPECT_EQ(json["requests_per_second"], 1.0);
  EXPECT_EQ(json["generated_tokens_per_second"], 5.0);
  EXPECT_EQ(json["prompt_tokens_per_second"], 10.0);
  EXPECT_EQ(json["requests_per_second_by_status"]["RESOURCE_EXHAUSTED"], 498.0);
  EXPECT_EQ(json["requests_by_status"]["DRAINED"], 1);
  EXPECT_EQ(json["generated_tokens_by_status"]["DEADLINE_EXCEEDED"], 20);
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(text, HasSubstr("completed  2 of 1000\n"));
  EXPECT_THAT(text, HasSubstr("1.00 requests/s, 5.0 generated tokens/s, 10.0 prompt tokens/s\n"));
  EXPECT_THAT(text,
              HasSubstr("RESOURCE_EXHAUSTED 996 (498.00/s, 0 tokens generated), first: full\n"));
  EXPECT_THAT(text, HasSubstr("DRAINED 1 (0.50/s, 30 tokens generated)\n"));
}

TEST(ReportTest, TellsAndWarnsOfCachedPrompts) {
  LoadPlan seeded, from_file;
  seeded.prompt_seed = 7;
  const LoadResult load = Result({Completed(100, 64, 2), Completed(100, 0, 2)}, 1.0);
  const Report report = MakeReport(seeded, load);
  EXPECT_THAT(report.Warnings(), ElementsAre(HasSubstr("32 % of the prompt tokens")));
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(text, HasSubstr("cached     32.0 % of the prompt tokens\n"));
  EXPECT_THAT(text, HasSubstr("WARNING: 32 %"));
  EXPECT_THAT(text, HasSubstr("--prompt_seed=7\n"));
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["cached_prompt_share"], 0.32);
  EXPECT_EQ(json["prompt_seed"], 7);
  EXPECT_EQ(json["warnings"].size(), 1U);
  EXPECT_THAT(MakeReport(from_file, load).Warnings(), ElementsAre(HasSubstr("Prompts of a file")));
  EXPECT_TRUE(
      nlohmann::json::parse(ReportJson({}, MakeReport(from_file, load)))["prompt_seed"].is_null());
  EXPECT_THAT(MakeReport(seeded, Result({Completed(100, 4, 2)}, 1.0)).Warnings(), IsEmpty());
}

TEST(ReportTest, WarnsOfAClientThatIsTooSlow) {
  RequestRecord late = Completed(1, 0, 1), prompt = late;
  late.sent = 0.2;  // and the first token came after 1 s
  EXPECT_THAT(MakeReport({}, Result({late, late, prompt}, 1)).Warnings(),
              ElementsAre(HasSubstr("waited 200.0 ms or more in this client")));
  EXPECT_THAT(MakeReport({}, Result({late, prompt, prompt}, 1)).Warnings(), IsEmpty());
}

TEST(ReportTest, AnInterruptedLoadSaysSo) {
  LoadPlan plan;
  plan.measured.requests = 100;
  const Report report =
      MakeReport(plan, {{Completed(1, 0, 1), Failed(absl::CancelledError("CANCELLED"))},
                        0.0,
                        1.0,
                        /*stopped=*/true});
  EXPECT_THAT(ReportText("host:1", {}, report), HasSubstr("INTERRUPTED: 98 of them were not sent"));
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["interrupted"], true);
  EXPECT_EQ(json["requests"], 100);
  EXPECT_EQ(json["requests_sent"], 2);
}

TEST(ReportTest, FaultsStandApart) {
  LoadPlan plan;
  plan.measured.requests = 5;
  plan.slo = Slo::Parse("e2e:1").value();
  RequestRecord cancelled = Failed(absl::CancelledError("")), slipped = Completed(5, 0, 5), late;
  cancelled.fault = slipped.fault = Fault::Kind::kCancel;
  late.fault = Fault::Kind::kDeadline;
  late.status = absl::DeadlineExceededError("");
  RequestRecord good = Completed(5, 0, 5);
  good.ended = 0;
  const Report report = MakeReport(plan, Result({good, cancelled, late, slipped, cancelled}, 2));
  EXPECT_EQ(report.sent(), 1U);
  EXPECT_EQ(report.faulted(), 4U);
  EXPECT_EQ(report.e2e.count, 1U);
  EXPECT_TRUE(report.slo_is_met());
  EXPECT_EQ(report.window_requests, 2U);  // the server did bring both
  EXPECT_EQ(report.goodput->window_good, 1U);
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(text, HasSubstr("completed  1 of 1\n"));
  EXPECT_THAT(text,
              HasSubstr("faults     cancel: CANCELLED 2 OK 1; deadline: DEADLINE_EXCEEDED 1\n"));
  EXPECT_EQ(nlohmann::json::parse(ReportJson({}, report))["faults"]["cancel"]["CANCELLED"], 2);
}

TEST(ReportTest, JudgesByTheSlo) {
  LoadPlan plan;
  plan.slo = Slo::Parse("ttft:500,e2e:900").value();
  plan.slo_share = 0.4;
  RequestRecord good = Completed(1, 0, 2), slow = Completed(1, 0, 2), cut = good, early = good;
  good.messages[0].at = early.messages[0].at = 0.5;
  good.ended = early.ended = 0.75;  // `slow` misses both limits
  early.is_measured = false;
  cut.status = absl::CancelledError("");
  cut.cut_short = true;
  const LoadResult load =
      Result({good, slow, early, cut, good, Failed(absl::InternalError("x"))}, 2);
  const Report report = MakeReport(plan, load);
  EXPECT_TRUE(report.slo_is_met());
  EXPECT_EQ(report.goodput->judged, 4U);
  EXPECT_EQ(report.goodput->good, 2U);
  EXPECT_EQ(report.goodput->window_good, 3U);
  const auto json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["slo"]["attained_share"], 0.5);
  EXPECT_EQ(json["slo"]["met"], true);
  EXPECT_EQ(json["slo"]["limits_seconds"], nlohmann::json({{"ttft", 0.5}, {"e2e", 0.9}}));
  EXPECT_EQ(json["slo"]["missed_by"], nlohmann::json({{"ttft", 1}, {"e2e", 1}, {"completion", 1}}));
  EXPECT_EQ(json["goodput_requests_per_second"], 1.5);
  EXPECT_THAT(ReportText("host:1", {}, report),
              HasSubstr("SLO        MET: 50.00 % of 4 requests had TTFT <= 500 ms, E2E <= 900 ms;\n"
                        "           40 % are to\n"
                        "goodput    1.50 requests/s; missed by completion 1, e2e 1, ttft 1\n"));
  plan.slo_share = 0.51;
  EXPECT_FALSE(MakeReport(plan, load).slo_is_met());
  EXPECT_FALSE(MakeReport(plan, Result({}, 1)).slo_is_met());
  EXPECT_FALSE(MakeReport({}, load).goodput.has_value());
}

TEST(ReportTest, TellsHowRequestsArrive) {
  LoadPlan plan;
  plan.max_in_flight = 8;
  EXPECT_EQ(ArrivalsText(plan), "closed loop of 8 streams");
  auto json = nlohmann::json::parse(ReportJson({}, MakeReport(plan, Result({}, 1))));
  EXPECT_EQ(json["streams"], 8);
  EXPECT_TRUE(json["rate"].is_null());
  EXPECT_THAT(ReportText("host:1", {}, MakeReport(plan, Result({}, 1))),
              Not(HasSubstr("\nQueue ")));
  plan.arrivals = {"gamma", 2.5, 0.5};
  plan.warmup = {.seconds = 5};
  plan.measured = {.seconds = 30};
  EXPECT_EQ(ArrivalsText(plan),
            "gamma arrivals of 2.5 requests/s, burstiness 0.5, at most 8 in flight");
  const Report report = MakeReport(plan, Result({}, 30));
  const std::string text = ReportText("host:1", {}, report);
  EXPECT_THAT(text, HasSubstr("window     30.00 s, after 5 s of warm-up\n"));
  EXPECT_THAT(text, HasSubstr("\nQueue "));
  json = nlohmann::json::parse(ReportJson({}, report));
  EXPECT_EQ(json["arrivals"], "gamma");
  EXPECT_EQ(json["burstiness"], 0.5);
  EXPECT_EQ(json["duration_seconds"], 30);
  EXPECT_EQ(json["max_in_flight"], 8);
  for (const char* key : {"streams", "requests"}) EXPECT_TRUE(json[key].is_null()) << key;
}

TEST(ReportTest, NothingHasNoFigures) {
  for (const LoadResult& load :
       {Result({Failed(absl::UnavailableError("gone"))}, 1.0), LoadResult{{}, 0.0, 0.0, true}}) {
    const Report report = MakeReport({}, load);
    TargetInfo info;
    info.num_recursions = 3;
    const std::string text = ReportText("host:1", info, report);
    EXPECT_THAT(text, ContainsRegex("E2E +0( +-){9}\n"));
    EXPECT_THAT(text, HasSubstr("mean depth - of"));
    EXPECT_THAT(text, HasSubstr("- requests/s, - generated tokens/s, - prompt tokens/s"));
    EXPECT_THAT(text, HasSubstr("cached     - %"));
    EXPECT_THAT(text, HasSubstr("WARNING: no request was completed"));
    const auto json = nlohmann::json::parse(ReportJson({}, report));
    EXPECT_EQ(json["end_to_end_seconds"]["count"], 0);
    EXPECT_TRUE(json["requests_by_status"].is_object());
    for (const char* key : {"mean", "p99"}) EXPECT_TRUE(json["end_to_end_seconds"][key].is_null());
    for (const char* key : {"mean_depth", "requests_per_second", "generated_tokens_per_second",
                            "prompt_tokens_per_second", "cached_prompt_share"}) {
      EXPECT_TRUE(json[key].is_null()) << key;
    }
  }
}

// Of 5 tokens in 3 messages, 2 in 3, and nobody knows how many in 2.
TEST(ReportTest, TokensThatMessagesDoNotTellAreSpreadOverThem) {
  Heard text;
  text.tokens = std::nullopt;
  Heard last = text;
  RequestRecord many, few, unknown;
  for (RequestRecord* record : {&many, &few}) {
    for (const double at : {1.0, 2.0}) record->Hear(text, at);
    last.generated_tokens = record == &many ? 5 : 2;
    record->Hear(last, 3.0);
    record->End(absl::OkStatus(), 3.0);
    EXPECT_EQ(record->token_counts, TokenCounts::kOfRequest);
  }
  for (const double at : {1.0, 2.0}) unknown.Hear(text, at);
  unknown.End(absl::OkStatus(), 3.0);
  EXPECT_EQ(unknown.token_counts, TokenCounts::kNone);
  EXPECT_EQ(unknown.generated_tokens, 2U);
  const auto tokens = [](const RequestRecord& record) {
    std::vector<std::pair<double, uint32_t>> told;
    for (const auto& message : record.messages) told.emplace_back(message.at, message.tokens);
    return told;
  };
  EXPECT_THAT(tokens(many), ElementsAre(Pair(1, 2), Pair(2, 2), Pair(3, 1)));
  EXPECT_THAT(tokens(few), ElementsAre(Pair(1, 1), Pair(2, 1)));
  EXPECT_THAT(tokens(unknown), ElementsAre(Pair(1, 1), Pair(2, 1)));
}

TEST(ReportTest, TimesBetweenTokensNeedTwoMessages) {
  RequestRecord at_once, one, silent;
  at_once.Hear(Message(8, 8), 1.0);  // all tokens in one message
  at_once.Hear(LastMessage(8, 2.0), 1.5);
  one.Hear(Message(1, 1), 1.0);
  silent.Hear(LastMessage(3, 2.0), 1.0);  // all of the text fell to a stop string
  const Report report = MakeReport({}, Result({at_once, one, silent}, 1.0));
  EXPECT_EQ(report.ttft.count, 2U);
  EXPECT_EQ(report.tpot.count, 0U);
  EXPECT_EQ(report.itl.count, 0U);
  EXPECT_THAT(ReportText("host:1", {}, report), ContainsRegex("TPOT +0( +-){9}\n"));
}

TEST(ReportTest, WhatIsShortIsNotNothing) {
  const Report report = MakeReport({}, Result({RequestRecord()}, 1.0));  // an end at once
  EXPECT_THAT(ReportText("host:1", {}, report), ContainsRegex("E2E +1( +<0.01){9}\n"));
}

TEST(ReportTest, BothFormsTellWhatTheFiguresAre) {
  const Report report = MakeReport({}, Result({RequestRecord()}, 1.0));
  const TargetInfo info;
  EXPECT_THAT(ReportText("host:1", info, report), HasSubstr(DefinitionsText()));
  const auto json = nlohmann::json::parse(ReportJson(info, report));
  for (const auto& [key, text] : json["definitions"].items()) {
    EXPECT_TRUE(json.contains(key) || key == "percentiles" || key == "intended_start" ||
                key == "knee")
        << key;
    EXPECT_THAT(DefinitionsText(), HasSubstr(text.get<std::string>()));
  }
}

}  // namespace
}  // namespace recurve::client
