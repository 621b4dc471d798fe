// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/call_metadata.h"

#include <grpcpp/grpcpp.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/access/names.h"
#include "server/access/quotas.h"
#include "server/call/ids.h"
#include "server/call/trace_id.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

constexpr char kRequestIdKey[] = "x-request-id";
constexpr char kTraceparentKey[] = "traceparent";
// Tells in the initial metadata of an answer, while there is one, which servers would give the
// same.
constexpr char kFingerprintKey[] = "x-recurve-fingerprint";

// The call's deadline on our clock; none if it has none, or one beyond any use.
std::optional<SteadyTime> DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto left = context.deadline() - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24 * 365)) return std::nullopt;
  return steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(left);
}

absl::Status CheckName(const grpc::CallbackServerContext& context, const char* key, size_t most) {
  const std::optional<std::string> name = MetadataValue(context, key);
  if (!name || IsValidName(*name, most)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      key, " has ", name->size(), " characters; it must have from 1 to ", most, " printable ones"));
}

}  // namespace

std::optional<std::string> MetadataValue(const grpc::CallbackServerContext& context,
                                         const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  return std::string(found->second.data(), found->second.size());
}

CallOrigin OriginOf(const grpc::CallbackServerContext& context, std::string method, bool streams) {
  CallOrigin origin;
  origin.method = std::move(method);
  origin.streams = streams;
  origin.arrival = steady_clock::now();
  origin.deadline = DeadlineOf(context);
  const std::optional<std::string> id = MetadataValue(context, kRequestIdKey);
  origin.id = id && IsValidName(*id, kMaxRequestIdBytes) ? *id : MakeRequestId();
  if (const auto parent = MetadataValue(context, kTraceparentKey)) {
    origin.trace_id = TraceIdOf(*parent);
  }
  return origin;
}

absl::Status CheckRequestId(const grpc::CallbackServerContext& context) {
  return CheckName(context, kRequestIdKey, kMaxRequestIdBytes);
}

absl::Status CheckTenant(const grpc::CallbackServerContext& context) {
  return CheckName(context, kTenantKey, kMaxTenantBytes);
}

void CallMetadata::BeforeMessage(const std::string& id, const std::string& fingerprint) {
  if (std::exchange(echoed_, true)) return;
  context_->AddInitialMetadata(kRequestIdKey, id);
  if (!fingerprint.empty()) context_->AddInitialMetadata(kFingerprintKey, fingerprint);
}

void CallMetadata::BeforeStatus(const std::string& id, const absl::Status& status,
                                std::chrono::milliseconds pushback) {
  if (!std::exchange(echoed_, true)) context_->AddTrailingMetadata(kRequestIdKey, id);
  if (absl::IsResourceExhausted(status)) {
    context_->AddTrailingMetadata(kPushbackKey,
                                  absl::StrCat(PushbackOf(status).value_or(pushback).count()));
  }
}

}  // namespace recurve
