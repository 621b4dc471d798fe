// SPDX-License-Identifier: Apache-2.0
// GET /metrics for Prometheus, on a port of its own.
#ifndef RECURVE_SERVER_METRICS_ENDPOINT_H_
#define RECURVE_SERVER_METRICS_ENDPOINT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace prometheus {
class Collectable;
class Exposer;
}  // namespace prometheus

namespace recurve {

// Serves until destroyed.
class MetricsEndpoint {
 public:
  // `address`: HOST:PORT with a numeric host; port 0 lets the system choose. The collectables must
  // outlive the endpoint. Unavailable if the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Create(
      const std::string& address,
      const std::vector<std::shared_ptr<prometheus::Collectable>>& collectables);
  ~MetricsEndpoint();

  int port() const { return port_; }

 private:
  MetricsEndpoint(const std::string& address, std::unique_ptr<prometheus::Exposer> exposer);
  void Knock() const;

  std::unique_ptr<prometheus::Exposer> exposer_;
  const int port_;
  std::string host_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_METRICS_ENDPOINT_H_
