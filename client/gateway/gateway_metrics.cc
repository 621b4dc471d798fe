// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/gateway_metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace recurve::gateway {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const std::vector<double> kSeconds = {.001, .0025, .005, .01, .025, .05, .1,  .25, .5,
                                      1,    2.5,   5,    10,  30,   60,  120, 300};

MetricFamily Gauge(const std::string& name, const std::string& help, uint64_t value) {
  ClientMetric metric;
  metric.gauge.value = static_cast<double>(value);
  return {name, help, MetricType::Gauge, {metric}};
}

class StateMetrics final : public prometheus::Collectable {
 public:
  StateMetrics(const HttpServer* server, std::function<bool()> ready)
      : server_(server), ready_(std::move(ready)) {}

  std::vector<MetricFamily> Collect() const override {
    const HttpServer::Counts counts = server_->counts();
    MetricFamily closed{"recurve_gateway_connections_closed_total",
                        "Connections that the gateway closed, by reason",
                        MetricType::Counter,
                        {}};
    const std::pair<const char*, uint64_t> reasons[] = {
        {"evicted", counts.evicted}, {"refused", counts.refused}, {"stalled", counts.timed_out}};
    for (const auto& [reason, count] : reasons) {
      ClientMetric& metric = closed.metric.emplace_back();
      metric.label = {{"reason", reason}};
      metric.counter.value = static_cast<double>(count);
    }
    return {Gauge("recurve_gateway_connections_open", "Connections of clients", counts.open),
            Gauge("recurve_gateway_calls_open", "Requests that are being answered", counts.busy),
            Gauge("recurve_gateway_ready",
                  "1 while a server takes calls and no signal to stop came", ready_() ? 1 : 0),
            closed};
  }

 private:
  const HttpServer* const server_;
  const std::function<bool()> ready_;
};

}  // namespace

GatewayMetrics::GatewayMetrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      calls_(&prometheus::BuildCounter()
                  .Name("recurve_gateway_calls_total")
                  .Help("Calls that ended, by endpoint (none: there is none) and HTTP status")
                  .Register(*registry_)),
      seconds_(&prometheus::BuildHistogram()
                    .Name("recurve_gateway_call_seconds")
                    .Help("From a call's arrival to its end, by endpoint")
                    .Register(*registry_)),
      prompt_tokens_(&prometheus::BuildCounter()
                          .Name("recurve_gateway_prompt_tokens_total")
                          .Help("Tokens of prompts, of calls that ended")
                          .Register(*registry_)
                          .Add({})),
      generated_tokens_(&prometheus::BuildCounter()
                             .Name("recurve_gateway_generated_tokens_total")
                             .Help("New tokens, of calls that ended")
                             .Register(*registry_)
                             .Add({})) {}
GatewayMetrics::~GatewayMetrics() = default;

void GatewayMetrics::ObserveCall(const CallEnd& end) {
  const std::string path = end.path.empty() ? "none" : end.path;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - end.arrival;
  calls_->Add({{"path", path}, {"status", std::to_string(end.http_status)}}).Increment();
  seconds_->Add({{"path", path}}, kSeconds).Observe(seconds.count());
  prompt_tokens_->Increment(static_cast<double>(end.prompt_tokens));
  generated_tokens_->Increment(static_cast<double>(end.generated_tokens));
}

std::shared_ptr<prometheus::Collectable> GatewayMetrics::collectable() const { return registry_; }

std::shared_ptr<prometheus::Collectable> MakeStateMetrics(const HttpServer* server,
                                                          std::function<bool()> ready) {
  return std::make_shared<StateMetrics>(server, std::move(ready));
}

}  // namespace recurve::gateway
