// SPDX-License-Identifier: Apache-2.0
// Two reports of `recurve bench --format=json` side by side.
#ifndef RECURVE_CLIENT_LOAD_COMPARE_H_
#define RECURVE_CLIENT_LOAD_COMPARE_H_

#include <string>

#include "absl/status/statusor.h"

namespace CLI {
class App;
}

namespace recurve::client {

// A row a figure: before, after, and the change in percent. What of the loads is not the same
// stands above. InvalidArgument if one is no report of a single load.
absl::StatusOr<std::string> CompareReports(const std::string& before, const std::string& after);

// `recurve compare`: see client/cli/commands.h.
void AddCompareCommand(CLI::App& app, int& exit_code);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_COMPARE_H_
