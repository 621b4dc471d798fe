// SPDX-License-Identifier: Apache-2.0
#include "client/load/extent.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace recurve::client {

absl::StatusOr<double> ParseSeconds(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration() &&
      duration <= absl::Hours(24 * 7)) {
    return absl::ToDoubleSeconds(duration);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", text, "' is not possible: expected a time such as 500ms, 30s or 5m, at most 168h"));
}

absl::StatusOr<Extent> ParseExtent(const std::string& text) {
  uint64_t requests = 0;
  if (absl::SimpleAtoi(text, &requests) && requests <= kMostRequests) {
    return Extent{.requests = requests};
  }
  if (const auto seconds = ParseSeconds(text); seconds.ok()) return Extent{.seconds = *seconds};
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not possible: expected a number of requests, at most ",
                   kMostRequests, ", or a time such as 10s"));
}

}  // namespace recurve::client
