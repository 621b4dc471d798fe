// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "server/access/credentials.h"
#include "server/access/quota_metrics.h"
#include "server/access/quotas.h"
#include "server/call/call.h"
#include "server/call/egress.h"
#include "server/call/intake.h"
#include "server/grpc/authenticator.h"
#include "server/grpc/doorway.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/grpc_port.h"
#include "server/grpc/health_probe.h"
#include "server/grpc/health_service.h"
#include "server/grpc/infer_service.h"
#include "server/grpc/keep_awake.h"
#include "server/grpc/reflection_service.h"
#include "server/grpc/server_credentials.h"
#include "server/grpc/vllm_service.h"
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

// Of the port for health alone: a call or two of each prober, small ones.
constexpr uint32_t kMaxHealthStreams = 16;
constexpr Milliseconds kMaxHealthAge = std::chrono::minutes(10);
constexpr uint32_t kMaxHealthMessageBytes = 1024;

// What health tells of: the server as a whole, and each service that generates.
std::vector<std::string> ServingNames() {
  return {"", kGenerationServiceName, kInferServiceName, kVllmServiceName};
}

// What reflection tells of.
std::vector<std::string> ServiceNames() {
  return {kGenerationServiceName, kInferServiceName, kVllmServiceName,
          kHealthServiceName,     kReflectionName,   kReflectionAlphaName};
}

}  // namespace

class Server::Impl {
 public:
  // `options` with max_connections filled in.
  Impl(const ServerOptions& options, Log* log, Acceptor::Seams seams)
      : options_(options),
        log_(log),
        quotas_(options.engine.schedule.max_queued_requests),
        egress_(options.stream),
        intake_(std::make_unique<Intake>(options.engine.schedule.max_queued_requests,
                                         options.admission.max_queued_bytes)),
        health_(ServingNames()),
        plain_health_(ServingNames()),
        port_(options.listen.max_connections, log, std::move(seams)),
        health_port_(kMaxHealthConnections, log) {
    context_.options = &options_;
    context_.metrics = &metrics_;
    context_.log = log;
    context_.egress = &egress_;
    context_.quotas = &quotas_;
    engine_metrics_ = MakeEngineMetrics(&context_.engine, &options_);
    connection_metrics_ = MakeConnectionMetrics(port_.acceptor());
    quota_metrics_ = MakeQuotaMetrics(&quotas_);
  }

  ~Impl() { Shutdown(std::chrono::steady_clock::now()); }

  absl::Status ReadCredentials() {
    Credentials::Listeners listeners;
    listeners.rules = [this](auto rules) { quotas_.SetRules(std::move(rules)); };
    ASSIGN_OR_RETURN(credentials_, Credentials::Create(options_.tls, options_.access,
                                                       std::move(listeners), &metrics_, log_));
    authenticator_ = std::make_unique<Authenticator>(credentials_.get(), &metrics_);
    doorway_ = std::make_unique<Doorway>(&context_, intake_.get(), authenticator_.get());
    services_.push_back(MakeGenerationService(doorway_.get()));
    services_.push_back(MakeInferService(doorway_.get()));
    services_.push_back(MakeVllmService(doorway_.get()));
    services_.push_back(MakeReflectionService(ServiceNames(), authenticator_.get()));
    services_.push_back(MakeReflectionAlphaService(ServiceNames(), authenticator_.get()));
    // Each is told by reflection, or no test would find its methods; health is apart.
    RECURVE_CHECK(services_.size() + 1 == ServiceNames().size());
    return absl::OkStatus();
  }

  absl::Status Listen() {
    auto calls = Listener::Bind(options_.listen.listen);
    if (!calls.ok()) return OfFlag("--listen", calls.status());
    auto metrics = Listener::Bind(options_.listen.metrics_listen);
    if (!metrics.ok()) return OfFlag("--metrics_listen", metrics.status());
    std::unique_ptr<Listener> health;
    if (options_.listen.health_listen) {
      auto bound = Listener::Bind(*options_.listen.health_listen);
      if (!bound.ok()) return OfFlag("--health_listen", bound.status());
      health = *std::move(bound);
    }
    const absl::Status serving = ServeMetrics(*std::move(metrics));
    if (!serving.ok()) return OfFlag("--metrics_listen", serving);
    std::vector<grpc::Service*> services = {health_.service()};
    for (const auto& service : services_) services.push_back(service.get());
    const absl::Status listening =
        port_.Start(*std::move(calls), MakeServerCredentials(credentials_.get()), services,
                    options_.connection, options_.listen.max_message_bytes);
    if (!listening.ok()) return OfFlag("--listen", listening);
    if (health != nullptr) {
      const absl::Status answering = ServeHealth(std::move(health));
      if (!answering.ok()) return OfFlag("--health_listen", answering);
    }
    keep_awake_ = std::make_unique<KeepAwake>(port_.InProcessChannel());
    credentials_->StartWatching();
    return StartSelfCheck();
  }

  void SetServing(bool serving) {
    const MutexLock lock(mutex_);
    serving_ = serving;
    TellHealth();
  }

  void SetEngineFailed() {
    const MutexLock lock(mutex_);
    engine_failed_ = true;
    TellHealth();
  }

  void Shutdown(SteadyTime until) {
    self_check_.reset();
    keep_awake_.reset();
    port_.StopAccepting();
    health_port_.StopAccepting();
    health_.Close(until);  // while connections still carry what it says
    plain_health_.Close(until);
    if (port_.started()) {
      intake_->WaitUntilIdle(until);
      context_.cutting = true;
      port_.Shutdown(until);
      health_port_.Shutdown(until);
    }
    // A call may be over while its admission has yet to cancel it in the engine, which goes next.
    intake_.reset();
    metrics_endpoint_.reset();
  }

  const ServerOptions options_;
  Log* const log_;
  Metrics metrics_;
  Quotas quotas_;
  CallContext context_;  // used by the threads below
  Egress egress_;
  std::unique_ptr<Intake> intake_;  // until Shutdown
  HealthService health_;
  HealthService plain_health_;  // the same, for the port that has nothing else
  std::unique_ptr<Credentials> credentials_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Doorway> doorway_;
  std::vector<std::unique_ptr<grpc::Service>> services_;  // but for health
  std::shared_ptr<prometheus::Collectable> engine_metrics_, connection_metrics_, quota_metrics_;
  GrpcPort port_, health_port_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;
  std::unique_ptr<KeepAwake> keep_awake_;
  std::unique_ptr<SelfCheck> self_check_;
  Address metrics_address_;

 private:
  absl::Status ServeMetrics(std::unique_ptr<Listener> listener) {
    RETURN_IF_ERROR(listener->Listen());
    ASSIGN_OR_RETURN(metrics_endpoint_,
                     MetricsEndpoint::Start(std::move(listener), options_.listen,
                                            {metrics_.collectable(), engine_metrics_,
                                             connection_metrics_, quota_metrics_},
                                            [this] { return HealthNow(); }));
    metrics_address_ = metrics_endpoint_->address();
    return absl::OkStatus();
  }

  absl::Status ServeHealth(std::unique_ptr<Listener> listener) {
    // Who asks comes again: those that stay silent, or for ever, make room for others.
    ConnectionOptions options;
    options.max_streams = kMaxHealthStreams;
    options.max_age = kMaxHealthAge;
    options.max_age_grace = Milliseconds(0);
    return health_port_.Start(std::move(listener), grpc::InsecureServerCredentials(),
                              {plain_health_.service()}, options, kMaxHealthMessageBytes);
  }

  absl::Status StartSelfCheck() {
    const bool tls = credentials_->tls() != nullptr;
    ASSIGN_OR_RETURN(auto probe, HealthProbe::Create(port_.listener(), port_.acceptor(),
                                                     tls ? &credentials_->own_client() : nullptr));
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
    const bool live = IsLive();
    const bool ready = serving_ && live;
    metrics_.SetReady(ready);
    metrics_.SetLive(live);
    health_.Set(ready, live);
    plain_health_.Set(ready, live);
  }

  bool IsLive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !deaf_ && !engine_failed_; }

  MetricsEndpoint::Health HealthNow() {
    const MutexLock lock(mutex_);
    return {.live = IsLive(), .ready = serving_ && IsLive()};
  }

  Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;  // as far as the engine and the process's life go
  bool deaf_ ABSL_GUARDED_BY(mutex_) = false;
  bool engine_failed_ ABSL_GUARDED_BY(mutex_) = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, Log* log,
                                                       Acceptor::Seams seams) {
  ServerOptions filled = options;
  ASSIGN_OR_RETURN(filled.listen.max_connections,
                   ConnectionLimit(options.listen.max_connections, SoftDescriptorLimit(),
                                   OpenDescriptors() + options.listen.max_metrics_connections +
                                       (options.listen.health_listen ? kMaxHealthConnections : 0)));
  auto impl = std::make_unique<Impl>(filled, log, std::move(seams));
  RETURN_IF_ERROR(impl->ReadCredentials());
  RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const Address& Server::grpc_address() const { return impl_->port_.address(); }
const Address& Server::metrics_address() const { return impl_->metrics_address_; }
std::optional<Address> Server::health_address() const {
  if (!impl_->options_.listen.health_listen) return std::nullopt;
  return impl_->health_port_.address();
}
uint32_t Server::max_connections() const { return impl_->options_.listen.max_connections; }

void Server::SetEngine(Engine* engine) {
  impl_->context_.engine.store(engine, std::memory_order_release);
}

void Server::SetServing(bool serving) { impl_->SetServing(serving); }

void Server::SetDraining() { impl_->context_.draining = true; }

void Server::SetEngineFailed() { impl_->SetEngineFailed(); }

void Server::SetEngineStuck() {
  impl_->context_.engine_stuck = true;
  impl_->egress_.ScheduleAll();
}

size_t Server::WaitForCalls(SteadyTime until) { return impl_->egress_.WaitUntilNoneOpen(until); }

void Server::Shutdown(SteadyTime until) { impl_->Shutdown(until); }

}  // namespace recurve
