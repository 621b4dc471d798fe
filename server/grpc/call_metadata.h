// SPDX-License-Identifier: Apache-2.0
// The metadata of a call that brings work: by what names the client says who calls, and what
// it is told beside messages and status.
#ifndef RECURVE_SERVER_GRPC_CALL_METADATA_H_
#define RECURVE_SERVER_GRPC_CALL_METADATA_H_

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/call/call_record.h"

namespace grpc {
class CallbackServerContext;
}

namespace recurve {

// When a client whose call a queue had no place for may try again; gRPC's own name.
inline constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

// Whose call it is, as far as the client says so itself.
inline constexpr char kTenantKey[] = "x-recurve-tenant";

// What the client sent under `key`, the first if there are several.
std::optional<std::string> MetadataValue(const grpc::CallbackServerContext& context,
                                         const char* key);

// What is known of a call that has just come, but whose it is. An id that the client may not give
// is replaced; see CheckRequestId.
CallOrigin OriginOf(const grpc::CallbackServerContext& context, std::string method, bool streams);

// INVALID_ARGUMENT names the key if the client gave its call an id, or its tenant a name, that is
// too long or has characters that may not stand in the log.
absl::Status CheckRequestId(const grpc::CallbackServerContext& context);
absl::Status CheckTenant(const grpc::CallbackServerContext& context);

// What a call's transport adds to the metadata. The id goes into the initial metadata only with the
// first message: initial metadata commits a call, so that a client's library will not retry it.
// Thread-compatible; `context` must outlive it.
class CallMetadata {
 public:
  explicit CallMetadata(grpc::CallbackServerContext* context) : context_(context) {}

  // `fingerprint` as EngineInfo has it.
  void BeforeMessage(const std::string& id, const std::string& fingerprint);
  // `pushback`: for what is refused for want of a place, unless `status` itself says how long.
  void BeforeStatus(const std::string& id, const absl::Status& status,
                    std::chrono::milliseconds pushback);

 private:
  grpc::CallbackServerContext* const context_;
  bool echoed_ = false;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_CALL_METADATA_H_
