// SPDX-License-Identifier: Apache-2.0
// Asks the gRPC port for its health, as a client that has just come.
#ifndef RECURVE_SERVER_GRPC_HEALTH_PROBE_H_
#define RECURVE_SERVER_GRPC_HEALTH_PROBE_H_

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/base/scoped_descriptor.h"
#include "server/access/tls_identity.h"
#include "server/net/acceptor.h"
#include "server/observe/self_check.h"

namespace grpc {
class ClientContext;
}

namespace recurve {

// Each question is a call of grpc.health.v1.Health/Check over a new connection to the listening
// socket's own address, on loopback where that is every address. The connection is one that the
// acceptor expects, so that it is within no limit. What the answer says does not matter, only that
// it is one, and of this process: a connection that the acceptor has not seen went to somebody
// else, who listens there now.
//
// Where the port speaks TLS, so does the question: it makes a handshake of its own, with a client
// certificate where clients must have one. The certificate that it gets is not judged, since whose
// port it has reached the acceptor says.
//
// The next question's sockets are opened ahead, and are there when descriptors run out.
class HealthProbe final : public Probe {
 public:
  // `listener`: a listening socket, asked for its address now. `acceptor` must outlive the probe,
  // and so must `client`, what to show a port that speaks TLS; null: it speaks plaintext. An error
  // if the process has no descriptors for it.
  static absl::StatusOr<std::unique_ptr<HealthProbe>> Create(int listener, Acceptor* acceptor,
                                                             const CertificateAndKey* client);

  absl::Status Ask(SteadyTime until) override;
  void Cancel() override;

 private:
  HealthProbe(const sockaddr_storage& target, socklen_t size, Acceptor* acceptor,
              const CertificateAndKey* client);

  bool OpenNext();
  absl::Status Bind(int connection, std::string* key) const;
  absl::Status Connect(int connection, SteadyTime until) const;
  absl::Status Call(ScopedDescriptor connection, SteadyTime until);
  absl::Status CallOverTls(const ScopedDescriptor& connection, SteadyTime until);
  absl::Status Ask(int connection, SteadyTime until,
                   const std::function<absl::Status()>& meanwhile);

  const sockaddr_storage target_;
  const socklen_t target_size_;
  const ScopedDescriptor cancelled_;  // eventfds
  const ScopedDescriptor answered_;
  Acceptor* const acceptor_;
  const CertificateAndKey* const client_;
  ScopedDescriptor next_;
  // With TLS: what gRPC gets in place of that, and its other end.
  ScopedDescriptor next_plain_, next_far_;

  Mutex mutex_;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;  // in progress
  bool cancelling_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_HEALTH_PROBE_H_
