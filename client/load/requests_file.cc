// SPDX-License-Identifier: Apache-2.0
#include "client/load/requests_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/load/csv.h"
#include "client/load/write_file.h"

namespace recurve::client {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kCsv[] = ".csv";

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

std::vector<const RequestRecord*> Sorted(const std::vector<RequestRecord>& records) {
  std::vector<const RequestRecord*> sorted;
  sorted.reserve(records.size());
  for (const RequestRecord& record : records) sorted.push_back(&record);
  std::sort(sorted.begin(), sorted.end(),
            [](const RequestRecord* a, const RequestRecord* b) { return a->index < b->index; });
  return sorted;
}

// All but the times of its messages.
Json Fields(const RequestRecord& record) {
  return {{"index", record.index},
          {"measured", record.is_measured},
          {"intended", record.intended},
          {"sent", record.sent},
          {"ended", record.ended},
          {"status", record.outcome()},
          {"fault", FaultName(record.fault)},
          {"message", std::string(record.status.message())},
          {"server", record.report.last_server},
          {"tries", record.report.tries},
          {"resumes", record.report.resumes},
          {"pushbacks", record.pushbacks},
          {"prompt_tokens", record.prompt_tokens},
          {"cached_prompt_tokens", record.cached_tokens},
          {"generated_tokens", record.generated_tokens},
          {"client_queue_seconds", record.client_queue()},
          {"time_to_first_token_seconds", OrNull(record.time_to_first_token())},
          {"time_per_output_token_seconds", OrNull(record.time_per_output_token())},
          {"end_to_end_seconds", record.end_to_end()}};
}

// A server's messages need not be UTF-8.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string RequestsAsJsonLines(const std::vector<RequestRecord>& records) {
  std::string lines;
  for (const RequestRecord* record : Sorted(records)) {
    Json json = Fields(*record);
    json["messages"] = Json::array();
    for (const RequestRecord::TokenMessage& message : record->messages) {
      json["messages"].push_back({{"at", message.at}, {"tokens", message.tokens}});
    }
    absl::StrAppend(&lines, Dump(json), "\n");
  }
  return lines;
}

std::string RequestsAsCsv(const std::vector<RequestRecord>& records) {
  std::string lines;
  const auto add = [&lines](const Json& fields, bool names) {
    const char* comma = "";
    for (const auto& [name, value] : fields.items()) {
      absl::StrAppend(&lines, comma, names ? name : CsvCell(value));
      comma = ",";
    }
    lines += '\n';
  };
  add(Fields(RequestRecord()), /*names=*/true);
  for (const RequestRecord* record : Sorted(records)) add(Fields(*record), /*names=*/false);
  return lines;
}

absl::Status CheckRequestsFile(const std::string& path) {
  if (absl::EndsWith(path, kCsv) || absl::EndsWith(path, ".jsonl")) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", path, "' is not possible: expected a name that ends with .jsonl or .csv"));
}

absl::Status WriteRequestsFile(const std::string& path, const std::vector<RequestRecord>& records) {
  return WriteFile(
      path, absl::EndsWith(path, kCsv) ? RequestsAsCsv(records) : RequestsAsJsonLines(records));
}

}  // namespace recurve::client
