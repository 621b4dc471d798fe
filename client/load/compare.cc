// SPDX-License-Identifier: Apache-2.0
#include "client/load/compare.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/cli/terminal.h"

namespace recurve::client {
namespace {

struct Compared {
  std::string name;
  std::string pointer;  // of JSON, into a report
  double unit = 1;      // what it is multiplied with to be shown
};

// Of each the mean and some percentiles, in milliseconds.
constexpr std::pair<const char*, const char*> kLatencies[] = {
    {"TTFT", "time_to_first_token_seconds"},
    {"ITL", "inter_token_latency_seconds"},
    {"TPOT", "time_per_output_token_seconds"},
    {"E2E", "end_to_end_seconds"},
};

std::vector<Compared> ComparedFigures() {
  std::vector<Compared> figures = {
      {"requests/s", "/requests_per_second"},
      {"tokens/s", "/generated_tokens_per_second"},
      {"prompt tokens/s", "/prompt_tokens_per_second"},
      {"goodput requests/s", "/goodput_requests_per_second"},
      {"good requests %", "/slo/attained_share", 100},
      {"completed requests", "/requests_completed"},
      {"cached prompt %", "/cached_prompt_share", 100},
      {"mean depth", "/mean_depth"},
  };
  for (const auto& [name, key] : kLatencies) {
    for (const char* part : {"mean", "p50", "p99"}) {
      figures.push_back(
          {absl::StrCat(name, " ", part, " ms"), absl::StrCat("/", key, "/", part), 1e3});
    }
  }
  return figures;
}

// What two loads should share.
constexpr const char* kConditions[] = {"model",   "arrivals",      "rate",     "burstiness",
                                       "streams", "max_in_flight", "requests", "duration_seconds",
                                       "warmup",  "load_seed"};

nlohmann::json At(const nlohmann::json& report, const std::string& pointer) {
  const nlohmann::json::json_pointer path(pointer);
  return report.contains(path) ? report.at(path) : nlohmann::json();
}

std::optional<double> Value(const nlohmann::json& report, const Compared& figure) {
  const nlohmann::json value = At(report, figure.pointer);
  if (!value.is_number()) return std::nullopt;
  return value.get<double>() * figure.unit;
}

std::string Row(const Compared& figure, const nlohmann::json& before, const nlohmann::json& after) {
  const auto was = Value(before, figure), is = Value(after, figure);
  if (!was && !is) return "";
  const auto cell = [](const std::optional<double>& value) {
    return value ? absl::StrFormat("%.2f", *value) : "-";
  };
  std::string row = absl::StrFormat("%-20s %12s %12s", figure.name, cell(was), cell(is));
  if (was && is && *was != 0) {
    absl::StrAppendFormat(&row, " %+8.1f %%", (*is - *was) / *was * 100);
  }
  return row + "\n";
}

absl::StatusOr<nlohmann::json> ParseReport(const std::string& text, const char* name) {
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("time_to_first_token_seconds")) return json;
  return absl::InvalidArgumentError(absl::StrCat(
      name, " is no report of a single load, as `recurve bench --format=json` prints it"));
}

int Compare(const std::string& before, const std::string& after) {
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    auto text = ReadText(i == 0 ? before : after);
    if (!text.ok()) return ReportError(text.status());
    texts[i] = *std::move(text);
  }
  const auto table = CompareReports(texts[0], texts[1]);
  if (!table.ok()) return ReportError(table.status());
  std::fputs(table->c_str(), stdout);
  return FlushOutput() ? 0 : 1;
}

}  // namespace

absl::StatusOr<std::string> CompareReports(const std::string& before, const std::string& after) {
  const auto first = ParseReport(before, "BEFORE"), second = ParseReport(after, "AFTER");
  if (!first.ok()) return first.status();
  if (!second.ok()) return second.status();
  std::string text;
  for (const char* condition : kConditions) {
    const auto was = At(*first, absl::StrCat("/", condition));
    const auto is = At(*second, absl::StrCat("/", condition));
    if (was == is) continue;
    absl::StrAppend(&text, "not the same: ", condition, " is ", Printable(was.dump()),
                    " before and ", Printable(is.dump()), " after\n");
  }
  absl::StrAppendFormat(&text, "%-20s %12s %12s %10s\n", "", "before", "after", "change");
  for (const Compared& figure : ComparedFigures())
    absl::StrAppend(&text, Row(figure, *first, *second));
  return text;
}

void AddCompareCommand(CLI::App& app, int& exit_code) {
  auto files = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App* command = app.add_subcommand(
      "compare", "Show what changed between two reports of `recurve bench --format=json`");
  command->add_option("before", files->first, "File with the first report")->required();
  command->add_option("after", files->second, "File with the second report")->required();
  command->callback([files, &exit_code] { exit_code = Compare(files->first, files->second); });
}

}  // namespace recurve::client
