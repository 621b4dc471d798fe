// SPDX-License-Identifier: Apache-2.0
#include "client/load/trace.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace recurve::client {

absl::StatusOr<std::vector<double>> ParseTrace(const std::string& text) {
  std::vector<double> starts;
  double first = 0;
  size_t number = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto error = [number](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, " ", what));
    };
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return error("is no JSON object");
    const auto timestamp = json.find("timestamp");
    if (timestamp == json.end() || !timestamp->is_number()) {
      return error("has no number `timestamp`, the start in milliseconds");
    }
    const double start = timestamp->get<double>() / 1e3;
    if (!std::isfinite(start)) return error("has a `timestamp` that is not finite");
    if (starts.empty()) first = start;
    if (!starts.empty() && start - first < starts.back()) {
      return error("starts before the line above it; sort the file by `timestamp`");
    }
    starts.push_back(start - first);
  }
  if (starts.empty()) return absl::InvalidArgumentError("it has no lines");
  return starts;
}

}  // namespace recurve::client
