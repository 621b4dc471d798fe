// SPDX-License-Identifier: Apache-2.0
#include "client/call_status.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "client/client.h"

namespace recurve::client {
namespace {

// Whether gRPC's own words for a broken stream are in the message, which servers do not use.
bool WasReset(const grpc::Status& status) {
  return (status.error_code() == grpc::StatusCode::INTERNAL &&
          absl::StrContains(status.error_message(), "RST_STREAM")) ||
         (status.error_code() == grpc::StatusCode::UNKNOWN &&
          status.error_message() == "Stream removed");
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context) {
  const auto code = WasReset(status) ? absl::StatusCode::kUnavailable
                                     : static_cast<absl::StatusCode>(status.error_code());
  absl::Status result(code, status.error_message());
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto pushback = trailers.find("grpc-retry-pushback-ms"); pushback != trailers.end()) {
    result.SetPayload(
        kRetryPushbackPayload,
        absl::Cord(absl::string_view(pushback->second.data(), pushback->second.size())));
  }
  // What gRPC says here alone, also of a connection that broke.
  const bool reached = absl::StrContains(context.debug_error_string(), "received from peer");
  if (absl::IsUnavailable(result) && !reached) result.SetPayload(kNotReachedPayload, absl::Cord());
  return result;
}

ReplicaSet::Outcome OutcomeOf(const absl::Status& status) {
  using Kind = ReplicaSet::Outcome::Kind;
  ReplicaSet::Outcome outcome;
  const auto pushback = status.GetPayload(kRetryPushbackPayload);
  int64_t milliseconds = 0;
  if (pushback) {
    // As gRPC reads it: what is no such number says that the call is not to come again.
    outcome.never_again = !absl::SimpleAtoi(std::string(*pushback), &milliseconds) ||
                          milliseconds < 0 || milliseconds > INT32_MAX;
    if (!outcome.never_again) outcome.pushback = std::chrono::milliseconds(milliseconds);
  }
  if (status.ok()) {
    outcome.kind = Kind::kServed;
  } else if (absl::IsResourceExhausted(status) && pushback) {
    outcome.kind = Kind::kFull;
  } else if (absl::IsUnavailable(status)) {
    outcome.kind = Kind::kFailed;
  } else {
    outcome.kind = Kind::kOther;
  }
  return outcome;
}

}  // namespace recurve::client
