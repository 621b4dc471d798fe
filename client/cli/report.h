// SPDX-License-Identifier: Apache-2.0
// How every command says that something went wrong, its output included, and prints a message as
// JSON.
#ifndef RECURVE_CLIENT_CLI_REPORT_H_
#define RECURVE_CLIENT_CLI_REPORT_H_

#include <string>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}

namespace recurve::client {

// Prints "recurve: <server>: <CODE>: <message>" with what to do next to stderr; returns exit
// code 1.
int ReportError(const std::string& server, const absl::Status& status);

// As above, without a server, for an error that none has seen.
int ReportError(const absl::Status& status);

// Writes out what standard output holds. False from the first time on that it has lost something,
// which is then told on stderr.
bool FlushOutput();

// Proto3 JSON with the proto's field names, on one line; unset scalars included.
std::string ToJson(const google::protobuf::Message& message);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_REPORT_H_
