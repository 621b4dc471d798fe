// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_EXTENT_H_
#define RECURVE_CLIENT_LOAD_EXTENT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace recurve::client {

// A part of a load: a number of requests, or the requests of a time. Exactly one is set.
struct Extent {
  std::optional<uint64_t> requests = std::nullopt;
  std::optional<double> seconds = std::nullopt;
};
inline constexpr uint64_t kMostRequests = 100000000;  // of a part

// "64" is a number of requests, "30s" a time. InvalidArgument says what is expected.
absl::StatusOr<Extent> ParseExtent(const std::string& text);

// "30s", "2m": more than 0, at most a week.
absl::StatusOr<double> ParseSeconds(const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_EXTENT_H_
