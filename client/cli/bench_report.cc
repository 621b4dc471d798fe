// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/terminal.h"

namespace recurve::client {
namespace {

struct Definition {
  const char* name;  // in text
  const char* key;   // in JSON
  const char* text;
};

constexpr Definition kDefinitions[] = {
    {"TTFT", "time_to_first_token_seconds",
     "From sending a request to its first message with tokens."},
    {"ITL", "inter_token_latency_seconds",
     "For each token after the first message: the time since the message before over the tokens of "
     "its own message."},
    {"TPOT", "time_per_output_token_seconds",
     "A request's time from first to last token over its tokens less one."},
    {"E2E", "end_to_end_seconds", "From sending to the stream's end."},
    {"Tokens/s", "generated_tokens_per_second",
     "Generated tokens of all requests over the whole time."},
    {"Mean depth", "mean_depth",
     "Recursions a row of generated tokens, as the server tells at a request's end; a request "
     "weighs as many rows as it has tokens less one, since the last one never becomes a row."},
    {"Percentiles", "percentiles",
     "Of the nearest rank; of requests that ended with OK, without warm-up."},
};

double Rate(uint64_t count, const Report& report) {
  return static_cast<double>(count) / std::max(report.seconds, 1e-9);
}

std::string Milliseconds(double seconds) { return absl::StrFormat("%.2f", seconds * 1e3); }

std::string Row(const char* name, const Summary& summary) {
  std::string row = absl::StrFormat("%-9s", name);
  for (const double seconds : {summary.mean, summary.min, summary.p50, summary.p90, summary.p95,
                               summary.p99, summary.max}) {
    absl::StrAppendFormat(&row, " %9s", summary.count == 0 ? "-" : Milliseconds(seconds));
  }
  return row + "\n";
}

nlohmann::json ToJson(const Summary& summary) {
  nlohmann::json json = {{"count", summary.count}};
  const std::pair<const char*, double> figures[] = {
      {"mean", summary.mean}, {"min", summary.min}, {"p50", summary.p50}, {"p90", summary.p90},
      {"p95", summary.p95},   {"p99", summary.p99}, {"max", summary.max}};
  for (const auto& [key, seconds] : figures) {
    json[key] = summary.count == 0 ? nlohmann::json() : nlohmann::json(seconds);
  }
  return json;
}

}  // namespace

Report MakeReport(uint32_t streams, const LoadResult& load) {
  Report report;
  report.streams = streams;
  report.requests = load.records.size();
  report.seconds = load.seconds;
  std::vector<double> ttft, itl, tpot, e2e;
  double depth_sum = 0;
  uint64_t rows = 0;
  for (const RequestRecord& record : load.records) {
    const std::string code = absl::StatusCodeToString(record.status.code());
    ++report.by_status[code];
    if (!record.status.ok()) report.first_messages.try_emplace(code, record.status.message());
    report.prompt_tokens += record.prompt_tokens;
    report.generated_tokens += record.generated_tokens;
    depth_sum += record.mean_depth * static_cast<double>(record.generated_rows);
    rows += record.generated_rows;
    if (!record.status.ok()) continue;
    e2e.push_back(record.end_to_end);
    if (record.tokens_seen > 0) ttft.push_back(record.time_to_first_token);
    itl.insert(itl.end(), record.inter_token.begin(), record.inter_token.end());
    if (record.tokens_seen > 1) {
      tpot.push_back((record.time_to_last_token - record.time_to_first_token) /
                     static_cast<double>(record.tokens_seen - 1));
    }
  }
  if (rows > 0) report.mean_depth = depth_sum / static_cast<double>(rows);
  report.ttft = Summarize(std::move(ttft));
  report.itl = Summarize(std::move(itl));
  report.tpot = Summarize(std::move(tpot));
  report.e2e = Summarize(std::move(e2e));
  return report;
}

std::string DefinitionsText() {
  std::string text;
  for (const Definition& definition : kDefinitions) {
    absl::StrAppend(&text, definition.name, ": ", definition.text, "\n");
  }
  return text;
}

std::string ReportText(const std::string& server, const v1::GetModelInfoResponse& info,
                       const Report& report) {
  std::string text =
      absl::StrFormat("server     %s, model %s\nload       %d requests over %d streams in %.2f s\n",
                      server, info.model_name(), report.requests, report.streams, report.seconds);
  absl::StrAppend(&text, "status    ");
  for (const auto& [code, count] : report.by_status) absl::StrAppend(&text, " ", code, " ", count);
  absl::StrAppend(&text, "\n");
  for (const auto& [code, message] : report.first_messages) {
    absl::StrAppend(&text, "           ", code, ", first: ", Printable(message), "\n");
  }
  absl::StrAppendFormat(
      &text, "throughput %.1f generated tokens/s, %.1f prompt tokens/s, %.2f requests/s\n",
      Rate(report.generated_tokens, report), Rate(report.prompt_tokens, report),
      Rate(report.requests, report));
  absl::StrAppendFormat(&text, "mean depth %s of %d recursions\n\n",
                        report.mean_depth ? absl::StrFormat("%.3f", *report.mean_depth) : "-",
                        info.num_recursions());
  absl::StrAppendFormat(&text, "%-9s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "min", "p50",
                        "p90", "p95", "p99", "max");
  absl::StrAppend(&text, Row("TTFT", report.ttft), Row("ITL", report.itl), Row("TPOT", report.tpot),
                  Row("E2E", report.e2e), "\n", DefinitionsText());
  return text;
}

std::string ReportJson(const v1::GetModelInfoResponse& info, const Report& report) {
  nlohmann::json definitions;
  for (const Definition& definition : kDefinitions) definitions[definition.key] = definition.text;
  const nlohmann::json json = {
      {"model", info.model_name()},
      {"streams", report.streams},
      {"requests", report.requests},
      {"requests_by_status", report.by_status},
      {"first_message_by_status", report.first_messages},
      {"seconds", report.seconds},
      {"prompt_tokens", report.prompt_tokens},
      {"generated_tokens", report.generated_tokens},
      {"generated_tokens_per_second", Rate(report.generated_tokens, report)},
      {"requests_per_second", Rate(report.requests, report)},
      {"mean_depth", report.mean_depth ? nlohmann::json(*report.mean_depth) : nlohmann::json()},
      {"time_to_first_token_seconds", ToJson(report.ttft)},
      {"inter_token_latency_seconds", ToJson(report.itl)},
      {"time_per_output_token_seconds", ToJson(report.tpot)},
      {"end_to_end_seconds", ToJson(report.e2e)},
      {"definitions", definitions},
  };
  // A server's messages need not be UTF-8.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace recurve::client
