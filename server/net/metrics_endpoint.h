// SPDX-License-Identifier: Apache-2.0
// GET /metrics for Prometheus, on a port of its own, and /healthz and /readyz for whoever cannot
// ask by gRPC.
#ifndef RECURVE_SERVER_NET_METRICS_ENDPOINT_H_
#define RECURVE_SERVER_NET_METRICS_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/net/http_server.h"
#include "server/net/listener.h"
#include "server/options.h"

namespace prometheus {
class Collectable;
}

namespace recurve {

// Serves what the collectables tell at the time of each request, and figures of its own, until
// destroyed. The page is in Prometheus' text format (version 0.0.4) and not compressed.
class MetricsEndpoint {
 public:
  // What /healthz and /readyz answer: 200 if true, else 503.
  struct Health {
    bool live = false, ready = false;
  };

  // `listener` listens. The collectables and `health` are called on the endpoint's thread.
  // Unavailable where the system has no means for it.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      std::unique_ptr<Listener> listener, const ListenOptions& options,
      std::vector<std::shared_ptr<prometheus::Collectable>> collectables,
      std::function<Health()> health);

  const Address& address() const { return server_->address(); }

 private:
  MetricsEndpoint(std::vector<std::shared_ptr<prometheus::Collectable>> collectables,
                  std::function<Health()> health)
      : collectables_(std::move(collectables)), health_(std::move(health)) {}
  HttpResponse Answer(const HttpRequest& request) const;
  std::string Page() const;

  const std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  const std::function<Health()> health_;
  std::unique_ptr<HttpServer> server_;  // last: its thread uses the rest
};

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_METRICS_ENDPOINT_H_
