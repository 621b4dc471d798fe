// SPDX-License-Identifier: Apache-2.0
// Asks the gRPC port for its health, as a client that has just come.
#ifndef RECURVE_SERVER_GRPC_HEALTH_PROBE_H_
#define RECURVE_SERVER_GRPC_HEALTH_PROBE_H_

#include <sys/socket.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/base/scoped_descriptor.h"
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
// The next question's socket is opened ahead, and is there when descriptors run out.
class HealthProbe final : public Probe {
 public:
  // `listener`: a listening socket, asked for its address now. `acceptor` must outlive the probe.
  // An error if the process has no descriptors for it.
  static absl::StatusOr<std::unique_ptr<HealthProbe>> Create(int listener, Acceptor* acceptor);

  absl::Status Ask(SteadyTime until) override;
  void Cancel() override;

 private:
  HealthProbe(const sockaddr_storage& target, socklen_t size, int cancelled, Acceptor* acceptor);

  void OpenNext();
  absl::Status Bind(int connection, std::string* key) const;
  absl::Status Connect(int connection, SteadyTime until) const;
  absl::Status Call(ScopedDescriptor connection, SteadyTime until);

  const sockaddr_storage target_;
  const socklen_t target_size_;
  const ScopedDescriptor cancelled_;  // an eventfd
  Acceptor* const acceptor_;
  ScopedDescriptor next_;

  Mutex mutex_;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;  // in progress
  bool cancelling_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_HEALTH_PROBE_H_
