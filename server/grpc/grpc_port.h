// SPDX-License-Identifier: Apache-2.0
// One port of gRPC services: what listens, what accepts, and the gRPC server behind it.
#ifndef RECURVE_SERVER_GRPC_GRPC_PORT_H_
#define RECURVE_SERVER_GRPC_GRPC_PORT_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/steady_time.h"
#include "server/address.h"
#include "server/net/acceptor.h"
#include "server/net/listener.h"
#include "server/options.h"

namespace grpc {
class Channel;
class Server;
class ServerCredentials;
class Service;
namespace experimental {
class ExternalConnectionAcceptor;
}
}  // namespace grpc

namespace recurve {

// Thread-safe but for Start, StopAccepting, Shutdown and destruction.
class GrpcPort {
 public:
  // `log` must outlive the port.
  GrpcPort(uint32_t max_connections, Log* log, Acceptor::Seams seams = {});
  ~GrpcPort();  // shuts down

  // Serves connections from now on; once. The services must outlive the port.
  absl::Status Start(std::unique_ptr<Listener> listener,
                     std::shared_ptr<grpc::ServerCredentials> credentials,
                     const std::vector<grpc::Service*>& services, const ConnectionOptions& options,
                     uint32_t max_message_bytes);

  // Of a port that was started.
  const Address& address() const { return address_; }
  int listener() const { return listener_->fd(); }
  Acceptor* acceptor() { return &acceptor_; }
  std::shared_ptr<grpc::Channel> InProcessChannel();
  bool started() const { return server_ != nullptr; }

  // Closes the listening socket; connections stay.
  void StopAccepting();
  // Ends connections and calls, which clients see as UNAVAILABLE; returns when all are gone, at
  // `until` or a little later.
  void Shutdown(SteadyTime until);

 private:
  Acceptor acceptor_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;
  Address address_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_GRPC_PORT_H_
