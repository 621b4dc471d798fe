// SPDX-License-Identifier: Apache-2.0
// Arrivals that were recorded somewhere.
#ifndef RECURVE_CLIENT_LOAD_TRACE_H_
#define RECURVE_CLIENT_LOAD_TRACE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace recurve::client {

struct TraceEntry {
  double start = 0;  // in seconds from the first one
  // Tokens of prompt and answer, where the trace has them.
  std::optional<uint32_t> input_length = std::nullopt, output_length = std::nullopt;
};

// A text has a JSON object a line: `timestamp`, in milliseconds, and maybe `input_length` and
// `output_length`, the form of the published Mooncake traces. Other fields are left alone.
// InvalidArgument names the line.
absl::StatusOr<std::vector<TraceEntry>> ParseTrace(const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_TRACE_H_
