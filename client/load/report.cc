// SPDX-License-Identifier: Apache-2.0
#include "client/load/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
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
     "A request's time from its first to its last message with tokens over the tokens after the "
     "first message; none if all came in one."},
    {"E2E", "end_to_end_seconds", "From sending to the stream's end."},
    {"Requests/s", "requests_per_second",
     "Completed requests (ended with OK, and not by the server's shutdown) over the whole time: "
     "from the first request's sending to the last one's end, or to the interruption."},
    {"Tokens/s", "generated_tokens_per_second",
     "Generated tokens of completed requests over the same time."},
    {"Prompt tokens/s", "prompt_tokens_per_second",
     "Prompt tokens of completed requests over the same time, cached ones included."},
    {"Cached", "cached_prompt_share",
     "Share of these prompt tokens that the server found in its prefix cache and did not compute."},
    {"Mean depth", "mean_depth",
     "Recursions a row of generated tokens, as the server tells at a request's end; a request "
     "weighs as many rows as it has tokens less one, since the last one never becomes a row."},
    {"Percentiles", "percentiles",
     "Of the nearest rank. All figures but those by status are of completed requests, without "
     "warm-up."},
};

// From this share on the prefix cache shows in the time to the first token.
constexpr double kMuchCached = 0.05;

// With so many digits behind the point; "-" without a value.
std::string Figure(int digits, const std::optional<double>& value) {
  return value ? absl::StrFormat("%.*f", digits, *value) : "-";
}

// What was measured, however short it was, does not look like nothing.
std::string Milliseconds(double seconds) {
  return seconds < 0.5e-5 ? "<0.01" : absl::StrFormat("%.2f", seconds * 1e3);
}

std::string Row(const char* name, const Summary& summary) {
  std::string row = absl::StrFormat("%-4s %8d", name, summary.count);
  for (const double seconds : {summary.mean, summary.min, summary.p50, summary.p90, summary.p95,
                               summary.p99, summary.max}) {
    absl::StrAppendFormat(&row, " %9s", summary.count == 0 ? "-" : Milliseconds(seconds));
  }
  return row + "\n";
}

nlohmann::json ToJson(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
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

// Collects the figures of completed requests.
class Completed {
 public:
  explicit Completed(Report* report) : report_(report) {}

  void Add(const RequestRecord& record) {
    report_->prompt_tokens += record.prompt_tokens;
    report_->cached_prompt_tokens += record.cached_tokens;
    report_->generated_tokens += record.generated_tokens;
    depth_sum_ += record.mean_depth * static_cast<double>(record.generated_rows);
    rows_ += record.generated_rows;
    e2e_.push_back(record.end_to_end);
    if (record.tokens_seen > 0) ttft_.push_back(record.time_to_first_token);
    if (record.inter_token.empty()) return;
    itl_.insert(itl_.end(), record.inter_token.begin(), record.inter_token.end());
    tpot_.push_back((record.time_to_last_token - record.time_to_first_token) /
                    static_cast<double>(record.inter_token.size()));
  }

  void Finish() {
    if (rows_ > 0) report_->mean_depth = depth_sum_ / static_cast<double>(rows_);
    report_->ttft = Summarize(std::move(ttft_));
    report_->itl = Summarize(std::move(itl_));
    report_->tpot = Summarize(std::move(tpot_));
    report_->e2e = Summarize(std::move(e2e_));
  }

 private:
  Report* const report_;
  std::vector<double> ttft_, itl_, tpot_, e2e_;
  double depth_sum_ = 0;
  uint64_t rows_ = 0;
};

std::string OutcomeName(const RequestRecord& record) {
  if (record.drained && record.status.ok()) return kDrained;
  return absl::StatusCodeToString(record.status.code());
}

// What several servers are needed for: how often a request was tried again, and who ended it.
std::string ServersText(const Report& report) {
  std::string text;
  if (report.retries > 0) {
    absl::StrAppendFormat(&text,
                          "tries      %d beyond the first, %d of them to go on in mid-stream\n",
                          report.retries, report.resumes);
  }
  if (report.by_server.size() < 2) return text;
  absl::StrAppend(&text, "servers   ");
  for (const auto& [server, requests] : report.by_server) {
    absl::StrAppendFormat(&text, " %s: %d", server, requests);
  }
  return text + "\n";
}

// A line for each way to end but completion.
std::string OthersText(const Report& report) {
  std::string text;
  for (const auto& [name, outcome] : report.outcomes) {
    if (name == kCompleted) continue;
    absl::StrAppendFormat(&text, "           %s %d (%s/s, %d tokens generated)", name,
                          outcome.requests, Figure(2, report.Rate(outcome.requests)),
                          outcome.generated_tokens);
    if (!outcome.first_message.empty()) {
      absl::StrAppend(&text, ", first: ", Printable(outcome.first_message));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string LoadText(const Report& report) {
  const LoadPlan& plan = report.plan;
  std::string text = absl::StrFormat("load       %d requests over %d streams in %.2f s",
                                     plan.requests, plan.streams, report.seconds);
  if (plan.prompt_seed) {
    absl::StrAppend(&text, "; random prompts of --prompt_seed=", *plan.prompt_seed);
  }
  absl::StrAppend(&text, "\n");
  if (report.interrupted) {
    absl::StrAppendFormat(
        &text,
        "           INTERRUPTED: %d of them were not sent, and those on their way "
        "were cancelled\n",
        plan.requests - report.sent());
  }
  return text;
}

}  // namespace

uint64_t Report::completed() const {
  const auto found = outcomes.find(kCompleted);
  return found == outcomes.end() ? 0 : found->second.requests;
}

uint64_t Report::sent() const {
  uint64_t sum = 0;
  for (const auto& [name, outcome] : outcomes) sum += outcome.requests;
  return sum;
}

std::optional<double> Report::cached_prompt_share() const {
  if (prompt_tokens == 0) return std::nullopt;
  return static_cast<double>(cached_prompt_tokens) / static_cast<double>(prompt_tokens);
}

std::optional<double> Report::Rate(uint64_t count) const {
  if (seconds <= 0) return std::nullopt;
  return static_cast<double>(count) / seconds;
}

std::optional<double> Report::CompletedRate(uint64_t count) const {
  return completed() > 0 ? Rate(count) : std::nullopt;
}

std::vector<std::string> Report::Warnings() const {
  std::vector<std::string> warnings;
  if (completed() == 0) {
    warnings.push_back("no request was completed, so nothing of a completion was measured");
  }
  if (const auto share = cached_prompt_share(); share && *share >= kMuchCached) {
    warnings.push_back(absl::StrFormat(
        "%.0f %% of the prompt tokens were not computed but found in the server's prefix cache, "
        "from earlier requests: TTFT, E2E and the rates are better than those of new prompts. %s",
        *share * 100,
        plan.prompt_seed
            ? "Leave out --prompt_seed, or serve with --prefix_cache=false."
            : "Prompts of a file repeat from run to run: serve with --prefix_cache=false."));
  }
  return warnings;
}

Report MakeReport(const LoadPlan& plan, const LoadResult& load) {
  Report report;
  report.plan = plan;
  report.seconds = load.seconds;
  report.interrupted = load.stopped;
  Completed completed(&report);
  for (const RequestRecord& record : load.records) {
    const std::string name = OutcomeName(record);
    Outcome& outcome = report.outcomes[name];
    if (outcome.requests++ == 0) outcome.first_message = std::string(record.status.message());
    outcome.generated_tokens += record.generated_tokens;
    report.retries += static_cast<uint64_t>(std::max(0, record.report.tries - 1));
    report.resumes += static_cast<uint64_t>(record.report.resumes);
    if (record.report.tries > 0) ++report.by_server[record.report.last_server];
    if (name == kCompleted) completed.Add(record);
  }
  completed.Finish();
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
  std::string text = absl::StrFormat("server     %s, model %s\n", server, info.model_name());
  absl::StrAppend(&text, LoadText(report));
  absl::StrAppendFormat(&text, "completed  %d of %d\n%s", report.completed(), report.plan.requests,
                        OthersText(report));
  absl::StrAppend(&text, ServersText(report));
  absl::StrAppendFormat(&text,
                        "throughput %s requests/s, %s generated tokens/s, %s prompt tokens/s\n",
                        Figure(2, report.CompletedRate(report.completed())),
                        Figure(1, report.CompletedRate(report.generated_tokens)),
                        Figure(1, report.CompletedRate(report.prompt_tokens)));
  auto share = report.cached_prompt_share();
  if (share) *share *= 100;
  absl::StrAppendFormat(&text, "cached     %s %% of the prompt tokens\n", Figure(1, share));
  absl::StrAppendFormat(&text, "mean depth %s of %d recursions\n\n", Figure(3, report.mean_depth),
                        info.num_recursions());
  absl::StrAppendFormat(&text, "%-4s %8s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "count", "mean",
                        "min", "p50", "p90", "p95", "p99", "max");
  absl::StrAppend(&text, Row("TTFT", report.ttft), Row("ITL", report.itl), Row("TPOT", report.tpot),
                  Row("E2E", report.e2e), "\n");
  for (const std::string& warning : report.Warnings()) {
    absl::StrAppend(&text, "WARNING: ", warning, "\n");
  }
  absl::StrAppend(&text, DefinitionsText());
  return text;
}

std::string ReportJson(const v1::GetModelInfoResponse& info, const Report& report) {
  nlohmann::json definitions;
  auto by_status = nlohmann::json::object(), rate_by_status = by_status,
       tokens_by_status = by_status, first_messages = by_status;
  for (const Definition& definition : kDefinitions) definitions[definition.key] = definition.text;
  for (const auto& [name, outcome] : report.outcomes) {
    by_status[name] = outcome.requests;
    rate_by_status[name] = ToJson(report.Rate(outcome.requests));
    tokens_by_status[name] = outcome.generated_tokens;
    if (!outcome.first_message.empty()) first_messages[name] = outcome.first_message;
  }
  const auto rate = [&](uint64_t count) { return ToJson(report.CompletedRate(count)); };
  const auto& seed = report.plan.prompt_seed;
  const nlohmann::json json = {
      {"model", info.model_name()},
      {"streams", report.plan.streams},
      {"requests", report.plan.requests},
      {"requests_sent", report.sent()},
      {"requests_completed", report.completed()},
      {"interrupted", report.interrupted},
      {"warnings", report.Warnings()},
      {"prompt_seed", seed ? nlohmann::json(*seed) : nlohmann::json()},
      {"requests_by_status", by_status},
      {"requests_per_second_by_status", rate_by_status},
      {"generated_tokens_by_status", tokens_by_status},
      {"first_message_by_status", first_messages},
      {"retries", report.retries},
      {"resumes", report.resumes},
      {"requests_by_server", report.by_server},
      {"seconds", report.seconds},
      {"prompt_tokens", report.prompt_tokens},
      {"cached_prompt_tokens", report.cached_prompt_tokens},
      {"cached_prompt_share", ToJson(report.cached_prompt_share())},
      {"generated_tokens", report.generated_tokens},
      {"generated_tokens_per_second", rate(report.generated_tokens)},
      {"prompt_tokens_per_second", rate(report.prompt_tokens)},
      {"requests_per_second", rate(report.completed())},
      {"mean_depth", ToJson(report.mean_depth)},
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
