// SPDX-License-Identifier: Apache-2.0
#include "server/net/connection_metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "server/net/acceptor.h"

namespace recurve {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class ConnectionMetrics final : public prometheus::Collectable {
 public:
  explicit ConnectionMetrics(Acceptor* acceptor) : acceptor_(acceptor) {}

  std::vector<MetricFamily> Collect() const override {
    const Acceptor::Counts counts = acceptor_->counts();
    ClientMetric open;
    open.gauge.value = static_cast<double>(counts.open);
    return {{"recurve_connections_open",
             "Connections of clients to the gRPC port",
             MetricType::Gauge,
             {open}},
            {"recurve_connections_refused_total",
             "Connections to the gRPC port that were closed at once, by reason",
             MetricType::Counter,
             {Refused("max_connections", counts.refused_limit),
              Refused("descriptors", counts.refused_descriptors)}}};
  }

 private:
  static ClientMetric Refused(const char* reason, uint64_t count) {
    ClientMetric metric;
    metric.label = {{"reason", reason}};
    metric.counter.value = static_cast<double>(count);
    return metric;
  }

  Acceptor* const acceptor_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> MakeConnectionMetrics(Acceptor* acceptor) {
  return std::make_shared<ConnectionMetrics>(acceptor);
}

}  // namespace recurve
