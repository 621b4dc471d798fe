// SPDX-License-Identifier: Apache-2.0
#include "client/load/slo.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/load/statistics.h"

namespace recurve::client {
namespace {

constexpr double kMostMilliseconds = 1e9;

std::optional<double> ItlOf(const RequestRecord& record) {
  const Summary itl = Summarize(record.inter_token_latencies());
  return itl.count == 0 ? std::nullopt : std::make_optional(itl.p99);
}

// What each of Slo::kFigures is of a request, in seconds.
constexpr std::array<std::optional<double> (*)(const RequestRecord&), Slo::kFigures.size()>
    kFigureOf = {[](const RequestRecord& record) { return record.time_to_first_token(); }, &ItlOf,
                 [](const RequestRecord& record) { return record.time_per_output_token(); },
                 [](const RequestRecord& record) { return std::optional(record.end_to_end()); }};

}  // namespace

absl::StatusOr<Slo> Slo::Parse(const std::string& text) {
  Slo slo;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const std::vector<std::string> words = absl::StrSplit(part, ':');
    const auto* const figure = std::find(kFigures.begin(), kFigures.end(), words.front());
    double milliseconds = 0;
    if (words.size() != 2 || figure == kFigures.end() ||
        !absl::SimpleAtod(words.back(), &milliseconds) || !(milliseconds > 0) ||
        milliseconds > kMostMilliseconds) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", part, "' is not possible: expected one of ", absl::StrJoin(kFigures, ", "),
          " with milliseconds above 0, at most 1e9, as ttft:200,itl:50"));
    }
    std::optional<double>& limit = slo.limits_.at(static_cast<size_t>(figure - kFigures.begin()));
    if (limit) {
      return absl::InvalidArgumentError(absl::StrCat("'", text, "' limits ", *figure, " twice"));
    }
    limit = milliseconds / 1e3;
  }
  return slo;
}

std::vector<std::string> Slo::MissedBy(const RequestRecord& record) const {
  std::vector<std::string> missed;
  for (size_t i = 0; i < kFigures.size(); ++i) {
    if (limits_.at(i) && kFigureOf.at(i)(record).value_or(0) > *limits_.at(i)) {
      missed.emplace_back(kFigures.at(i));
    }
  }
  return missed;
}

std::string Slo::ToText() const {
  std::vector<std::string> texts;
  for (size_t i = 0; i < kFigures.size(); ++i) {
    if (!limits_.at(i)) continue;
    texts.push_back(
        absl::StrCat(absl::AsciiStrToUpper(kFigures.at(i)), " <= ", *limits_.at(i) * 1e3, " ms"));
  }
  return absl::StrJoin(texts, ", ");
}

}  // namespace recurve::client
