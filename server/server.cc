// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/call.h"
#include "server/egress.h"
#include "server/engine_metrics.h"
#include "server/generation_service.h"
#include "server/health_service.h"
#include "server/intake.h"
#include "server/keep_awake.h"
#include "server/listener.h"
#include "server/metrics.h"
#include "server/metrics_endpoint.h"

namespace recurve {
namespace {

absl::Status OfFlag(const std::string& flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, Log* log)
      : options_(options),
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
  }

  ~Impl() { Shutdown(std::chrono::steady_clock::now()); }

  absl::Status Listen() {
    auto calls = Listener::Bind(options_.listen.listen);
    if (!calls.ok()) return OfFlag("--listen", calls.status());
    auto metrics = Listener::Bind(options_.listen.metrics_listen);
    if (!metrics.ok()) return OfFlag("--metrics_listen", metrics.status());
    const absl::Status serving = ServeMetrics(*std::move(metrics));
    if (!serving.ok()) return OfFlag("--metrics_listen", serving);
    RETURN_IF_ERROR(ListenForCalls(*std::move(calls)));
    keep_awake_ = std::make_unique<KeepAwake>(grpc_server_->InProcessChannel({}));
    return absl::OkStatus();
  }

  void Shutdown(SteadyTime until) {
    keep_awake_.reset();
    health_.Close();
    if (grpc_server_) {
      context_.cutting = true;
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
  Metrics metrics_;
  CallContext context_;  // used by the threads below
  Egress egress_;
  std::unique_ptr<Intake> intake_;  // until Shutdown
  HealthService health_;
  std::unique_ptr<grpc::Service> service_;
  std::shared_ptr<prometheus::Collectable> engine_metrics_;
  std::unique_ptr<grpc::Server> grpc_server_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;
  std::unique_ptr<KeepAwake> keep_awake_;
  Address grpc_address_;
  Address metrics_address_;

 private:
  absl::Status ServeMetrics(std::unique_ptr<Listener> listener) {
    RETURN_IF_ERROR(listener->Listen());
    ASSIGN_OR_RETURN(metrics_endpoint_,
                     MetricsEndpoint::Start(std::move(listener), options_.listen,
                                            {metrics_.collectable(), engine_metrics_}));
    metrics_address_ = metrics_endpoint_->address();
    return absl::OkStatus();
  }

  // The gRPC library binds by itself what was found to be possible.
  absl::Status ListenForCalls(std::unique_ptr<Listener> listener) {
    grpc_address_ = listener->address();
    listener.reset();
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(grpc_address_.ToString(), grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service_.get());
    builder.RegisterService(health_.service());
    builder.SetMaxReceiveMessageSize(static_cast<int>(options_.listen.max_message_bytes));
    // Two servers on one port would share its connections by chance.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // Clients may ask every 10 s whether we are alive, and we ask them, so that calls of a client
    // that vanished do not stay for ever.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
    grpc_server_ = builder.BuildAndStart();
    if (grpc_server_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("--listen: cannot listen on ", grpc_address_.ToString()));
    }
    return absl::OkStatus();
  }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, Log* log) {
  auto impl = std::make_unique<Impl>(options, log);
  RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const Address& Server::grpc_address() const { return impl_->grpc_address_; }
const Address& Server::metrics_address() const { return impl_->metrics_address_; }

void Server::SetEngine(Engine* engine) {
  impl_->context_.engine.store(engine, std::memory_order_release);
}

void Server::SetServing(bool serving) {
  impl_->metrics_.SetReady(serving);
  impl_->health_.Set(serving);
}

void Server::SetDraining() { impl_->context_.draining = true; }

size_t Server::WaitForCalls(SteadyTime until) { return impl_->egress_.WaitUntilNoneOpen(until); }

void Server::Shutdown(SteadyTime until) { impl_->Shutdown(until); }

}  // namespace recurve
