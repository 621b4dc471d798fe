// SPDX-License-Identifier: Apache-2.0
// What a request must keep to be a good one, and how many must.
#ifndef RECURVE_CLIENT_LOAD_SLO_H_
#define RECURVE_CLIENT_LOAD_SLO_H_

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/record.h"

namespace recurve::client {

class Slo {
 public:
  // What can be limited: TTFT, TPOT and E2E as DefinitionsText says, and the 99th percentile of the
  // request's own ITL.
  static constexpr std::array<const char*, 4> kFigures = {"ttft", "itl", "tpot", "e2e"};

  // "ttft:200,itl:50", in milliseconds. InvalidArgument names what is wrong with it.
  static absl::StatusOr<Slo> Parse(const std::string& text);

  // The names of limits that a completed request does not keep; what was not measured of it, as the
  // ITL of a single token, misses no limit. None: the request is good, if it was completed.
  std::vector<std::string> MissedBy(const RequestRecord& record) const;

  // In seconds, in the order of kFigures.
  const std::array<std::optional<double>, 4>& limits() const { return limits_; }
  // "TTFT <= 200 ms, ITL <= 50 ms".
  std::string ToText() const;

 private:
  std::array<std::optional<double>, 4> limits_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SLO_H_
