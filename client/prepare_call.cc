// SPDX-License-Identifier: Apache-2.0
#include "client/prepare_call.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/prefix_key.h"

namespace recurve::client {

namespace {

std::string::const_iterator FindUnprintable(const std::string& text) {
  return std::find_if(text.begin(), text.end(),
                      [](char c) { return !absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

bool IsMetadataName(const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
  });
  return plain && !name.empty() && !absl::StartsWith(name, "grpc-") &&
         !absl::EndsWith(name, "-bin");
}

}  // namespace

absl::Status CheckCall(const CallOptions& options) {
  for (const auto& [name, value] : options.metadata) {
    if (!IsMetadataName(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", absl::CEscape(name), "' is no name of metadata that can be sent"));
    }
    if (FindUnprintable(value) != value.end()) {  // which is not repeated: it may be a secret
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has other than printable ASCII characters"));
    }
  }
  const std::string& id = options.request_id;
  const auto bad = FindUnprintable(id);
  if (bad != id.end()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "request_id has the byte 0x%02X at offset %d; expected printable ASCII characters alone",
        static_cast<unsigned char>(*bad), bad - id.begin()));
  }
  if (id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("request_id has %d bytes; expected at most %d",
                                                    id.size(), kMaxRequestIdBytes));
}

void PrepareTry(const Deadline& deadline, const CallOptions& options, uint64_t prefix_key,
                grpc::ClientContext& context) {
  if (deadline.system) context.set_deadline(*deadline.system);
  if (!options.request_id.empty()) context.AddMetadata("x-request-id", options.request_id);
  for (const auto& [name, value] : options.metadata) context.AddMetadata(name, value);
  if (prefix_key != 0) context.AddMetadata(kPrefixHeader, PrefixHeaderValue(prefix_key));
}

absl::Status AllFull(ReplicaSet::Time ready) {
  const auto left = std::max(ReplicaSet::Duration(0), ready - std::chrono::steady_clock::now());
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("every server is full and asked not to be called for another ", milliseconds,
                   " ms, which is longer than the call may take"));
  status.SetPayload(kRetryPushbackPayload, absl::Cord(absl::StrCat(milliseconds)));
  return status;
}

}  // namespace recurve::client
