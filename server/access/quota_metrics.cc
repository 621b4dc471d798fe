// SPDX-License-Identifier: Apache-2.0
#include "server/access/quota_metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

namespace recurve {
namespace {

class QuotaMetrics final : public prometheus::Collectable {
 public:
  explicit QuotaMetrics(Quotas* quotas) : quotas_(quotas) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    prometheus::ClientMetric tenants;
    tenants.gauge.value = static_cast<double>(quotas_->tenants());
    return {{"recurve_tenants_tracked",
             "Tenants with calls, or over their quota a minute ago at most",
             prometheus::MetricType::Gauge,
             {tenants}}};
  }

 private:
  Quotas* const quotas_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> MakeQuotaMetrics(Quotas* quotas) {
  return std::make_shared<QuotaMetrics>(quotas);
}

}  // namespace recurve
