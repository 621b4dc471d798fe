// SPDX-License-Identifier: Apache-2.0
#include "client/cli/report.h"

#include <google/protobuf/util/json_util.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/channel_credentials.h"
#include "client/client.h"
#include "client/server_name.h"

namespace recurve::client {
namespace {

std::string NotReachedAdvice(const std::string& server, const absl::Status& status) {
  if (std::string advice = TlsAdvice(std::string(status.message())); !advice.empty()) return advice;
  if (const auto variable = ProxyVariable(server)) {
    return absl::StrCat("The call went through the proxy of the environment variable ", *variable,
                        ". To go there directly, unset it, or name the host in no_proxy.");
  }
  return absl::StrCat("Is a server running there, and does it want TLS (",
                      TransportOf(server) == Transport::kGrpc ? "--tls_ca" : "https://",
                      ") or not? Start one with `./run serve`, or name another with --server.");
}

// What to do next; empty if nothing is known.
std::string Advice(const std::string& server, const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return status.GetPayload(kNotReachedPayload)
                 ? NotReachedAdvice(server, status)
                 : "The server does not serve now: it loads its model, shuts down, or has failed; "
                   "its log says which. Try again later, or name another with --server.";
    case absl::StatusCode::kResourceExhausted:
      return status.GetPayload(kRetryPushbackPayload)
                 ? "The server is full. Try again later, or let --attempts=5 do it."
                 : "The request is too large: see max_message_bytes in `recurve info --json`.";
    case absl::StatusCode::kDeadlineExceeded:
      return "Allow more time with --timeout, or end early with what there is by --time_limit_ms.";
    case absl::StatusCode::kUnauthenticated:
      return "Give a token with --token_file, or in the environment variable RECURVE_TOKEN; "
             "whoever "
             "runs the server has it, and `recurve token` makes one.";
    default:
      return "";
  }
}

}  // namespace

int ReportError(const std::string& server, const absl::Status& status) {
  std::fprintf(stderr, "recurve: %s: %s\n", server.c_str(),
               status.ToString(absl::StatusToStringMode::kWithNoExtraData).c_str());
  const std::string advice = Advice(server, status);
  if (!advice.empty()) std::fprintf(stderr, "%s\n", advice.c_str());
  return 1;
}

int ReportError(const absl::Status& status) {
  std::fprintf(stderr, "recurve: %s\n", status.ToString().c_str());
  return 1;
}

bool FlushOutput() {
  static bool lost = false;  // a second flush would succeed, with nothing
  if (lost) return false;
  // A write that failed before this has left its reason there.
  if (std::ferror(stdout) == 0) errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
  lost = true;
  std::fprintf(stderr, "recurve: cannot write to standard output%s%s; what it has is not whole\n",
               errno == 0 ? "" : ": ", errno == 0 ? "" : std::strerror(errno));
  return false;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : "{}";
}

}  // namespace recurve::client
