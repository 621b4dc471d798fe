// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/run_gateway.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/gateway/api_error.h"
#include "client/gateway/chat_renderer.h"
#include "client/gateway/gateway.h"
#include "client/gateway/gateway_metrics.h"
#include "client/gateway/model_watch.h"
#include "client/gateway/workers.h"
#include "engine/base/status_macros.h"
#include "server/access/credentials.h"
#include "server/net/http_server.h"
#include "server/net/http_tls.h"
#include "server/net/listener.h"
#include "server/net/metrics_endpoint.h"
#include "server/observe/metrics.h"
#include "server/port_file.h"

namespace recurve::gateway {
namespace {

constexpr int kWorkers = 8;
constexpr int kLookers = 2;  // servers that hang hold up who looks, and nobody else
constexpr std::chrono::milliseconds kLook(20);
constexpr uint32_t kMaxHeaderBytes = 16384;  // tokens and proxies' headers among them
// For calls that were cancelled to hear of it.
constexpr std::chrono::seconds kCancelPatience(10);

int Failure(const absl::Status& status, Log* log) {
  log->Write("failed", {{"error", std::string(status.message())}});
  return kExitCannotStart;
}

absl::Status For(const char* flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

void LogCall(const CallEnd& end, Log* log) {
  if (end.is_look && end.error.ok()) return;
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - end.arrival)
          .count();
  std::vector<LogField> fields = {
      {"id", end.id}, {"path", end.path}, {"status", static_cast<uint64_t>(end.http_status)}};
  if (!end.error.ok()) fields.push_back({"error", LogTextOf(end.error)});
  if (!end.user.empty()) fields.push_back({"user", end.user});
  if (!end.trace_id.empty()) fields.push_back({"trace_id", end.trace_id});
  if (end.prompt_tokens > 0) {
    fields.push_back({"prompt_tokens", end.prompt_tokens});
    fields.push_back({"generated_tokens", end.generated_tokens});
  }
  fields.push_back({"total_ms", ms});
  log->Write("request", fields);
}

absl::StatusOr<std::unique_ptr<Listener>> ListenAt(const char* flag, const Address& address) {
  auto listener = Listener::Bind(address);
  if (!listener.ok()) return For(flag, listener.status());
  if (absl::Status status = (*listener)->Listen(); !status.ok()) return For(flag, status);
  return listener;
}

// What connections speak TLS with, made anew when the files have changed. Of one thread.
class TlsSource {
 public:
  explicit TlsSource(const Credentials* credentials) : credentials_(credentials) {}

  std::shared_ptr<HttpTls> Get() {
    const std::shared_ptr<const TlsIdentity> identity = credentials_->tls();
    if (identity == identity_) return tls_;  // null only before the first
    TlsIdentity shown = *identity;
    // Never empty there: it has the authority of a server that calls itself, too.
    if (!credentials_->asks_for_client_certificates()) shown.client_ca.clear();
    if (auto made = HttpTls::Create(shown); made.ok()) tls_ = *std::move(made);
    identity_ = identity;
    return tls_;
  }

 private:
  const Credentials* const credentials_;
  std::shared_ptr<const TlsIdentity> identity_;
  std::shared_ptr<HttpTls> tls_;
};

// What listens: the HTTP server and, if there is one, the metrics' port.
struct Ports {
  std::unique_ptr<PortFile> file;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<Listener> metrics;

  static absl::StatusOr<Ports> Open(const GatewayOptions& options, TlsSource* tls) {
    Ports ports;
    if (!options.port_file.empty()) {
      ASSIGN_OR_RETURN(ports.file, PortFile::Prepare(options.port_file));
    }
    ASSIGN_OR_RETURN(auto listener, ListenAt("--listen", options.listen));
    if (options.metrics_listen) {
      ASSIGN_OR_RETURN(ports.metrics, ListenAt("--metrics_listen", *options.metrics_listen));
    }
    std::function<std::shared_ptr<HttpTls>()> get_tls;
    if (!options.tls.cert.empty()) get_tls = [tls] { return tls->Get(); };
    ports.http = std::make_unique<HttpServer>(
        std::move(listener), HttpServerOptions{.max_connections = options.max_connections,
                                               .spare_busy = true,
                                               .stall_timeout = options.idle_timeout,
                                               .max_header_bytes = kMaxHeaderBytes,
                                               .max_body_bytes = options.max_body_bytes,
                                               .tls = std::move(get_tls)});
    return ports;
  }

  absl::Status Publish() const {
    if (file == nullptr) return absl::OkStatus();
    PortFile::NamedAddresses named = {{"http", http->address()}};
    if (metrics != nullptr) named.emplace_back("metrics", metrics->address());
    return file->Publish(named);
  }
};

client::CallOptions OwnCalls(const GatewayOptions& options) {
  client::CallOptions call;
  if (!options.server_token.empty()) {
    call.metadata.emplace_back("authorization", absl::StrCat("Bearer ", options.server_token));
  }
  return call;
}

// Waits until no call is open; false if that is not so in time.
bool AwaitCalls(const Gateway& gateway, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (gateway.open_calls() > 0) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
}

void Drain(const GatewayOptions& options, HttpServer* http, Gateway* gateway, Log* log) {
  std::this_thread::sleep_for(options.drain_grace);
  log->Write("draining", {{"calls", uint64_t{gateway->open_calls()}}});
  http->StopAccepting();
  if (AwaitCalls(*gateway, options.drain_budget)) return;
  log->Write("cut", {{"calls", uint64_t{gateway->open_calls()}}});
  gateway->CancelAll();
  AwaitCalls(*gateway, kCancelPatience);
}

}  // namespace

int RunGateway(const GatewayOptions& options, StopSign* stop, Log* log) {
  Metrics reloads;  // which the log tells
  auto credentials = Credentials::Create(
      options.tls, {.file = "", .reload_interval = options.credentials_reload_interval}, {},
      &reloads, log);
  if (!credentials.ok()) return Failure(credentials.status(), log);
  if (!options.tls.cert.empty()) (*credentials)->StartWatching();
  TlsSource tls(credentials->get());
  if (!options.tls.cert.empty() && tls.Get() == nullptr) {  // or it would speak plaintext
    return Failure(absl::InvalidArgumentError("--tls_cert: cannot speak TLS with it"), log);
  }
  auto ports = Ports::Open(options, &tls);
  if (!ports.ok()) return Failure(ports.status(), log);
  if (absl::Status status = ports->Publish(); !status.ok()) return Failure(status, log);
  log->Write("listening", {{"address", ports->http->address().ToString()},
                           {"servers", absl::StrJoin(options.client.servers, ",")}});
  // Each outlives those below it.
  GatewayMetrics metrics;
  client::Client client(options.client);
  ChatRenderer renderer(options.python, options.template_timeout);
  ModelWatch models(&client, OwnCalls(options), [log](const absl::Status& status) {
    log->Write(status.ok() ? "ready" : "not_ready",
               {{"reason", std::string(status.ok() ? "a server takes calls" : status.message())}});
  });
  Workers workers(kWorkers), lookers(kLookers);
  Gateway gateway({.client = &client,
                   .models = &models,
                   .renderer = &renderer,
                   .workers = &workers,
                   .lookers = &lookers,
                   .resume = options.resume,
                   .ask_first = !options.server_token.empty(),
                   .page = options.page,
                   .on_end = [&metrics, log](const CallEnd& end) {
                     metrics.ObserveCall(end);
                     LogCall(end, log);
                   }});
  std::unique_ptr<MetricsEndpoint> endpoint;
  if (ports->metrics != nullptr) {
    auto started = MetricsEndpoint::Start(
        std::move(ports->metrics), ListenOptions(),
        {metrics.collectable(),
         MakeStateMetrics(ports->http.get(), [&gateway] { return gateway.ready(); })},
        [&gateway] { return MetricsEndpoint::Health{.live = true, .ready = gateway.ready()}; });
    if (!started.ok()) return Failure(For("--metrics_listen", started.status()), log);
    endpoint = *std::move(started);
  }
  const absl::Status serving = ports->http->Serve(
      [&gateway](HttpRequest request, std::shared_ptr<HttpResponseWriter> writer) {
        gateway.Handle(std::move(request), std::move(writer));
      });
  if (!serving.ok()) return Failure(For("--listen", serving), log);
  stop->Wait();
  gateway.SetStopping();
  Drain(options, ports->http.get(), &gateway, log);
  endpoint.reset();
  ports->http.reset();
  log->Write("stopped", {});
  return kExitOk;
}

}  // namespace recurve::gateway
