// SPDX-License-Identifier: Apache-2.0
// Every request of a load, for other programs.
#ifndef RECURVE_CLIENT_LOAD_REQUESTS_FILE_H_
#define RECURVE_CLIENT_LOAD_REQUESTS_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/load/record.h"

namespace recurve::client {

// In the order of intended starts, warm-up included, times in seconds; a figure that a request has
// not is null, or empty. JSON lines have an object a request, CSV the same but for the times of its
// messages, with a line of names above.
std::string RequestsAsJsonLines(const std::vector<RequestRecord>& records);
std::string RequestsAsCsv(const std::vector<RequestRecord>& records);

// InvalidArgument if the name ends neither with .jsonl nor with .csv.
absl::Status CheckRequestsFile(const std::string& path);
// In the form that the name's ending says.
absl::Status WriteRequestsFile(const std::string& path, const std::vector<RequestRecord>& records);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REQUESTS_FILE_H_
