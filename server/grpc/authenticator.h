// SPDX-License-Identifier: Apache-2.0
// Who makes a call, and whether they may.
#ifndef RECURVE_SERVER_GRPC_AUTHENTICATOR_H_
#define RECURVE_SERVER_GRPC_AUTHENTICATOR_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/access/credentials.h"
#include "server/observe/metrics.h"

namespace grpc {
class CallbackServerContext;
}

namespace recurve {

struct Caller {
  std::optional<std::string> tenant;
};

// Thread-safe. Every method of every service but grpc.health.v1.Health asks it first: gRPC's own
// AuthMetadataProcessor aborts the process where a port is plaintext.
//
// The tenant is that of the call's token, where tokens are in force; else that of the client's
// certificate, where clients must have one: its first URI, else its first DNS name, else its common
// name; else what the client says in x-recurve-tenant. Where the client does not say who it is but
// shows it, x-recurve-tenant must be the same if it is there at all.
class Authenticator {
 public:
  // Both must outlive this.
  Authenticator(const Credentials* credentials, Metrics* metrics)
      : credentials_(credentials), metrics_(metrics) {}

  // UNAUTHENTICATED, in the same words whatever is wrong with a token; PERMISSION_DENIED for
  // another's x-recurve-tenant; INVALID_ARGUMENT for one that no tenant can have.
  absl::StatusOr<Caller> Judge(const grpc::CallbackServerContext& context) const;

 private:
  absl::StatusOr<std::string> TenantOfCertificate(const grpc::CallbackServerContext& context) const;

  const Credentials* const credentials_;
  Metrics* const metrics_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_AUTHENTICATOR_H_
