// SPDX-License-Identifier: Apache-2.0
#include "client/load/report_csv.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/load/csv.h"
#include "client/load/report_json.h"

namespace recurve::client {
namespace {

// Pointers into a load's JSON, of which names are made.
std::vector<std::string> Columns() {
  std::vector<std::string> columns = {"/model",
                                      "/arrivals",
                                      "/rate",
                                      "/burstiness",
                                      "/streams",
                                      "/max_in_flight",
                                      "/load_seed",
                                      "/seconds",
                                      "/interrupted",
                                      "/requests_sent",
                                      "/requests_completed",
                                      "/retries",
                                      "/pushbacks",
                                      "/prompt_tokens",
                                      "/generated_tokens",
                                      "/cached_prompt_share",
                                      "/requests_per_second",
                                      "/generated_tokens_per_second",
                                      "/peak_tokens_per_second",
                                      "/prompt_tokens_per_second",
                                      "/peak_requests_in_flight",
                                      "/goodput_requests_per_second",
                                      "/slo/attained_share",
                                      "/slo/met",
                                      "/mean_depth",
                                      "/client_processors",
                                      "/client_seconds_per_token",
                                      "/server/preemptions",
                                      "/server/rows_per_step",
                                      "/server/peak_kv_share"};
  for (const char* latency :
       {"time_to_first_token_seconds", "inter_token_latency_seconds",
        "time_per_output_token_seconds", "end_to_end_seconds", "client_queue_seconds"}) {
    for (const char* part :
         {"count", "mean", "stddev", "min", "p50", "p90", "p95", "p99", "p99_9", "max"}) {
      columns.push_back(absl::StrCat("/", latency, "/", part));
    }
  }
  return columns;
}

}  // namespace

std::string ReportsCsv(const TargetInfo& info, const std::vector<Report>& loads) {
  const std::vector<std::string> columns = Columns();
  std::string text = absl::StrCat(
      absl::StrJoin(columns, ",",
                    [](std::string* line, const std::string& column) {
                      absl::StrAppend(line, absl::StrReplaceAll(column.substr(1), {{"/", "_"}}));
                    }),
      "\n");
  for (const Report& load : loads) {
    const auto json = nlohmann::ordered_json::parse(ReportJson(info, load));
    std::vector<std::string> cells;
    for (const std::string& column : columns) {
      const nlohmann::ordered_json::json_pointer place(column);
      cells.push_back(json.contains(place) ? CsvCell(json.at(place)) : "");
    }
    absl::StrAppend(&text, absl::StrJoin(cells, ","), "\n");
  }
  return text;
}

}  // namespace recurve::client
