// SPDX-License-Identifier: Apache-2.0
// Arrivals that were recorded somewhere.
#ifndef RECURVE_CLIENT_LOAD_TRACE_H_
#define RECURVE_CLIENT_LOAD_TRACE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace recurve::client {

// The starts, in seconds from the first one, of a text that has a JSON object a line, whose
// `timestamp` is in milliseconds: the form of the published Mooncake traces. Other fields are left
// alone. InvalidArgument names the line.
absl::StatusOr<std::vector<double>> ParseTrace(const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_TRACE_H_
