// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "server/call/call.h"
#include "server/call/egress.h"
#include "server/call/intake.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/health_probe.h"
#include "server/grpc/health_service.h"
#include "server/grpc/keep_awake.h"
#include "server/net/connection_metrics.h"
#include "server/net/descriptors.h"
#include "server/net/listener.h"
#include "server/net/metrics_endpoint.h"
#include "server/observe/engine_metrics.h"
#include "server/observe/metrics.h"
#include "server/observe/self_check.h"

namespace recurve {
namespace {

absl::Status OfFlag(const std::string& flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

// We ask clients so often whether they are alive, and wait so long for a word of theirs, so that
// the calls of one that vanished do not stay for ever.
constexpr int kKeepaliveMilliseconds = 30000;
constexpr int kKeepaliveTimeoutMilliseconds = 20000;

// What gRPC sets on listening sockets of its own, for the connections that come of them.
void SetTcpOptions(int listener) {
  const int on = 1, timeout = kKeepaliveTimeoutMilliseconds;
  // Fails on a unix socket, which needs neither.
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(listener, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

}  // namespace

class Server::Impl {
 public:
  // `options` with max_connections filled in.
  Impl(const ServerOptions& options, Log* log, Acceptor::Seams seams)
      : options_(options),
        log_(log),
        acceptor_(options.listen.max_connections, log, std::move(seams)),
        egress_(options.stream),
        intake_(std::make_unique<Intake>(options.engine.schedule.max_queued_requests,
                                         options.admission.max_queued_bytes)),
        health_({"", kGenerationServiceName}) {
    context_.options = &options_;
    context_.metrics = &metrics_;
    context_.log = log;
    context_.egress = &egress_;
    service_ = MakeGenerationService(&context_, intake_.get());
    engine_metrics_ = MakeEngineMetrics(&context_.engine, &options_);
    connection_metrics_ = MakeConnectionMetrics(&acceptor_);
  }

  ~Impl() { Shutdown(std::chrono::steady_clock::now()); }

  absl::Status Listen() {
    auto calls = Listener::Bind(options_.listen.listen);
    if (!calls.ok()) return OfFlag("--listen", calls.status());
    auto metrics = Listener::Bind(options_.listen.metrics_listen);
    if (!metrics.ok()) return OfFlag("--metrics_listen", metrics.status());
    const absl::Status serving = ServeMetrics(*std::move(metrics));
    if (!serving.ok()) return OfFlag("--metrics_listen", serving);
    const absl::Status listening = ListenForCalls(*std::move(calls));
    if (!listening.ok()) return OfFlag("--listen", listening);
    keep_awake_ = std::make_unique<KeepAwake>(grpc_server_->InProcessChannel({}));
    return StartSelfCheck();
  }

  void SetServing(bool serving) {
    const MutexLock lock(mutex_);
    serving_ = serving;
    TellHealth();
  }

  void Shutdown(SteadyTime until) {
    self_check_.reset();
    keep_awake_.reset();
    acceptor_.Stop();  // gRPC takes no connection over, nor closes it, once it shuts down
    listener_.reset();
    health_.Close();
    if (grpc_server_) {
      intake_->WaitUntilIdle(until);
      context_.cutting = true;
      // Clients see UNAVAILABLE. By itself gRPC cancels the calls that come while it shuts down,
      // and CANCELLED would say that the client did.
      acceptor_.HangUp();
      const auto left = until - std::chrono::steady_clock::now();
      grpc_server_->Shutdown(std::chrono::system_clock::now() + left);
      grpc_server_->Wait();
      grpc_server_.reset();
    }
    // A call may be over while its admission has yet to cancel it in the engine, which goes next.
    intake_.reset();
    metrics_endpoint_.reset();
  }

  const ServerOptions options_;
  Log* const log_;
  Acceptor acceptor_;
  Metrics metrics_;
  CallContext context_;  // used by the threads below
  Egress egress_;
  std::unique_ptr<Intake> intake_;  // until Shutdown
  HealthService health_;
  std::unique_ptr<grpc::Service> service_;
  std::shared_ptr<prometheus::Collectable> engine_metrics_, connection_metrics_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> grpc_connections_;
  std::unique_ptr<grpc::Server> grpc_server_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;
  std::unique_ptr<KeepAwake> keep_awake_;
  std::unique_ptr<SelfCheck> self_check_;
  Address grpc_address_;
  Address metrics_address_;

 private:
  absl::Status ServeMetrics(std::unique_ptr<Listener> listener) {
    RETURN_IF_ERROR(listener->Listen());
    ASSIGN_OR_RETURN(
        metrics_endpoint_,
        MetricsEndpoint::Start(std::move(listener), options_.listen,
                               {metrics_.collectable(), engine_metrics_, connection_metrics_}));
    metrics_address_ = metrics_endpoint_->address();
    return absl::OkStatus();
  }

  absl::Status ListenForCalls(std::unique_ptr<Listener> listener) {
    RETURN_IF_ERROR(listener->Listen());
    SetTcpOptions(listener->fd());
    listener_ = std::move(listener);
    grpc_address_ = listener_->address();
    RETURN_IF_ERROR(StartGrpc());
    return acceptor_.Start(listener_->fd(), [this](int connection) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters taken;
      taken.listener_fd = listener_->fd();
      taken.fd = connection;
      grpc_connections_->HandleNewConnection(&taken);
    });
  }

  absl::Status StartGrpc() {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    using Connections = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
    grpc_connections_ = builder.experimental().AddExternalConnectionAcceptor(
        Connections::FROM_FD, grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    builder.RegisterService(health_.service());
    builder.SetMaxReceiveMessageSize(static_cast<int>(options_.listen.max_message_bytes));
    // Clients may ask every 10 s whether we are alive.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
    grpc_server_ = builder.BuildAndStart();
    return grpc_server_ != nullptr ? absl::OkStatus() : absl::InternalError("gRPC does not start");
  }

  absl::Status StartSelfCheck() {
    ASSIGN_OR_RETURN(auto probe, HealthProbe::Create(listener_->fd(), &acceptor_));
    SelfCheck::Listeners listeners;
    listeners.unanswered = [this] { metrics_.CountSelfCheckFailure(); };
    listeners.verdict = [this](bool deaf) {
      const MutexLock lock(mutex_);
      deaf_ = deaf;
      TellHealth();
    };
    self_check_ = std::make_unique<SelfCheck>(options_.self_check, std::move(probe),
                                              std::move(listeners), log_);
    return absl::OkStatus();
  }

  void TellHealth() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const bool ready = serving_ && !deaf_;
    metrics_.SetReady(ready);
    metrics_.SetLive(!deaf_);
    health_.Set(ready, /*live=*/!deaf_);
  }

  Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;  // as far as the engine and the process's life go
  bool deaf_ ABSL_GUARDED_BY(mutex_) = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, Log* log,
                                                       Acceptor::Seams seams) {
  ServerOptions filled = options;
  ASSIGN_OR_RETURN(filled.listen.max_connections,
                   ConnectionLimit(options.listen.max_connections, SoftDescriptorLimit(),
                                   OpenDescriptors() + options.listen.max_metrics_connections));
  auto impl = std::make_unique<Impl>(filled, log, std::move(seams));
  RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const Address& Server::grpc_address() const { return impl_->grpc_address_; }
const Address& Server::metrics_address() const { return impl_->metrics_address_; }
uint32_t Server::max_connections() const { return impl_->options_.listen.max_connections; }

void Server::SetEngine(Engine* engine) {
  impl_->context_.engine.store(engine, std::memory_order_release);
}

void Server::SetServing(bool serving) { impl_->SetServing(serving); }

void Server::SetDraining() { impl_->context_.draining = true; }

void Server::SetEngineStuck() {
  impl_->context_.engine_stuck = true;
  impl_->egress_.ScheduleAll();
}

size_t Server::WaitForCalls(SteadyTime until) { return impl_->egress_.WaitUntilNoneOpen(until); }

void Server::Shutdown(SteadyTime until) { impl_->Shutdown(until); }

}  // namespace recurve
