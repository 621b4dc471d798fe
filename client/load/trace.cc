// SPDX-License-Identifier: Apache-2.0
#include "client/load/trace.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/load/length.h"

namespace recurve::client {
namespace {

std::optional<uint32_t> LengthOf(const nlohmann::json& json) {
  if (!json.is_number_unsigned()) return std::nullopt;
  const auto length = json.get<uint64_t>();
  if (length < 1 || length > Length::kMost) return std::nullopt;
  return static_cast<uint32_t>(length);
}

}  // namespace

absl::StatusOr<std::vector<TraceEntry>> ParseTrace(const std::string& text) {
  std::vector<TraceEntry> entries;
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
    const auto milliseconds = timestamp->get<double>();
    if (!std::isfinite(milliseconds)) return error("has a `timestamp` that is not finite");
    if (entries.empty()) first = milliseconds;
    const double start = (milliseconds - first) / 1e3;
    if (!entries.empty() && start < entries.back().start) {
      return error("starts before the line above it; sort the file by `timestamp`");
    }
    TraceEntry entry = {start};
    for (const auto& [name, length] : {std::pair("input_length", &entry.input_length),
                                       std::pair("output_length", &entry.output_length)}) {
      if (!json.contains(name)) continue;
      *length = LengthOf(json[name]);
      if (!*length) {
        return error(
            absl::StrCat("has an `", name, "` that is no whole number from 1 to ", Length::kMost));
      }
    }
    entries.push_back(entry);
  }
  if (entries.empty()) return absl::InvalidArgumentError("it has no lines");
  return entries;
}

}  // namespace recurve::client
