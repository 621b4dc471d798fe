// SPDX-License-Identifier: Apache-2.0
#include "server/net/metrics_endpoint.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"

namespace recurve {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr char kPlainText[] = "text/plain; charset=utf-8";

ClientMetric Count(uint64_t count, std::vector<ClientMetric::Label> labels) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.counter.value = static_cast<double>(count);
  return metric;
}

std::vector<MetricFamily> OwnFigures(const HttpServer::Counts& counts) {
  ClientMetric open;
  open.gauge.value = static_cast<double>(counts.open);
  MetricFamily answers{"recurve_metrics_answers_total",
                       "Answers of the metrics port, by status",
                       MetricType::Counter,
                       {}};
  std::map<int, uint64_t> by_status = counts.answers;
  for (const int status : {200, 404, 405, 503}) by_status.try_emplace(status, 0);
  for (const auto& [status, count] : by_status) {
    answers.metric.push_back(Count(count, {{"code", std::to_string(status)}}));
  }
  return {{"recurve_metrics_connections_open",
           "Connections to the metrics port",
           MetricType::Gauge,
           {open}},
          {"recurve_metrics_connections_closed_total",
           "Connections to the metrics port that the server closed, by reason",
           MetricType::Counter,
           {Count(counts.evicted, {{"reason", "evicted"}}),
            Count(counts.timed_out, {{"reason", "stalled"}})}},
          answers};
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    std::unique_ptr<Listener> listener, const ListenOptions& options,
    std::vector<std::shared_ptr<prometheus::Collectable>> collectables,
    std::function<Health()> health) {
  std::unique_ptr<MetricsEndpoint> endpoint(
      new MetricsEndpoint(std::move(collectables), std::move(health)));
  endpoint->server_ = std::make_unique<HttpServer>(
      std::move(listener), HttpServerOptions{.max_connections = options.max_metrics_connections,
                                             .stall_timeout = options.metrics_stall_timeout,
                                             .tls = nullptr});
  RETURN_IF_ERROR(endpoint->server_->Serve([endpoint = endpoint.get()](const HttpRequest& request) {
    return endpoint->Answer(request);
  }));
  return endpoint;
}

HttpResponse MetricsEndpoint::Answer(const HttpRequest& request) const {
  const bool is_metrics = request.path == "/metrics";
  if (!is_metrics && request.path != "/healthz" && request.path != "/readyz") {
    return {.status = 404,
            .content_type = kPlainText,
            .body = "404 only /metrics, /healthz and /readyz are here\n"};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return {.status = 405,
            .content_type = kPlainText,
            .body = "405 " + request.path + " is to GET\n",
            .headers = {{"Allow", "GET, HEAD"}}};
  }
  if (is_metrics) {
    return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = Page()};
  }
  const Health health = health_();
  const bool good = request.path == "/healthz" ? health.live : health.ready;
  return {.status = good ? 200 : 503,
          .content_type = kPlainText,
          .body = good ? "SERVING\n" : "NOT_SERVING\n"};
}

std::string MetricsEndpoint::Page() const {
  std::vector<MetricFamily> families = OwnFigures(server_->counts());
  for (const auto& collectable : collectables_) {
    std::vector<MetricFamily> more = collectable->Collect();
    families.insert(families.end(), std::make_move_iterator(more.begin()),
                    std::make_move_iterator(more.end()));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace recurve
