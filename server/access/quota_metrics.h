// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_ACCESS_QUOTA_METRICS_H_
#define RECURVE_SERVER_ACCESS_QUOTA_METRICS_H_

#include <memory>

#include "server/access/quotas.h"

namespace prometheus {
class Collectable;
}

namespace recurve {

// Of `quotas`, which must stay as long as somebody collects. Not by tenant: there may be thousands.
std::shared_ptr<prometheus::Collectable> MakeQuotaMetrics(Quotas* quotas);

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_QUOTA_METRICS_H_
