// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_port.h"

#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

int Count(Milliseconds time) { return static_cast<int>(time.count()); }

// gRPC's word for no limit.
int CountOrNever(const std::optional<Milliseconds>& time) {
  return time ? Count(*time) : std::numeric_limits<int>::max();
}

// What gRPC sets on listening sockets of its own, for the connections that come of them.
void SetTcpOptions(int listener, Milliseconds keepalive_timeout) {
  const int on = 1, timeout = Count(keepalive_timeout);
  // Fails on a unix socket, which needs neither.
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(listener, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

void SetConnectionOptions(const ConnectionOptions& options, grpc::ServerBuilder* builder) {
  const std::pair<const char*, int> arguments[] = {
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(options.max_streams)},
      {GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes},
      {GRPC_ARG_MAX_CONNECTION_AGE_MS, CountOrNever(options.max_age)},
      {GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, CountOrNever(options.max_age_grace)},
      {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Count(options.handshake_timeout)},
      // We ask clients so often whether they are alive, and wait so long for a word of theirs, so
      // that the calls of one that vanished do not stay for ever.
      {GRPC_ARG_KEEPALIVE_TIME_MS, Count(options.keepalive_time)},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Count(options.keepalive_timeout)},
      // How often clients may ask us.
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Count(options.min_ping_interval)},
      {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1}};
  for (const auto& [name, value] : arguments) builder->AddChannelArgument(name, value);
}

}  // namespace

GrpcPort::GrpcPort(uint32_t max_connections, Log* log, Acceptor::Seams seams)
    : acceptor_(max_connections, log, std::move(seams)) {}

GrpcPort::~GrpcPort() {
  StopAccepting();
  Shutdown(std::chrono::steady_clock::now());
}

absl::Status GrpcPort::Start(std::unique_ptr<Listener> listener,
                             std::shared_ptr<grpc::ServerCredentials> credentials,
                             const std::vector<grpc::Service*>& services,
                             const ConnectionOptions& options, uint32_t max_message_bytes) {
  RETURN_IF_ERROR(listener->Listen());
  SetTcpOptions(listener->fd(), options.keepalive_timeout);
  listener_ = std::move(listener);
  address_ = listener_->address();
  grpc::ServerBuilder builder;
  using Connections = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  connections_ = builder.experimental().AddExternalConnectionAcceptor(Connections::FROM_FD,
                                                                      std::move(credentials));
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(max_message_bytes));
  SetConnectionOptions(options, &builder);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::InternalError("gRPC does not start");
  return acceptor_.Start(listener_->fd(), [this](int connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters taken;
    taken.listener_fd = listener_->fd();
    taken.fd = connection;
    connections_->HandleNewConnection(&taken);
  });
}

std::shared_ptr<grpc::Channel> GrpcPort::InProcessChannel() {
  return server_->InProcessChannel({});
}

void GrpcPort::StopAccepting() {
  acceptor_.Stop();  // gRPC takes no connection over, nor closes it, once it shuts down
  listener_.reset();
}

void GrpcPort::Shutdown(SteadyTime until) {
  if (server_ == nullptr) return;
  // Clients see UNAVAILABLE. By itself gRPC cancels the calls that come while it shuts down, and
  // CANCELLED would say that the client did.
  acceptor_.HangUp();
  const auto left = until - std::chrono::steady_clock::now();
  server_->Shutdown(std::chrono::system_clock::now() + left);
  server_->Wait();
  server_.reset();
}

}  // namespace recurve
