// SPDX-License-Identifier: Apache-2.0
// What the gateway counts; docs/gateway.md has the table.
#ifndef RECURVE_CLIENT_GATEWAY_GATEWAY_METRICS_H_
#define RECURVE_CLIENT_GATEWAY_GATEWAY_METRICS_H_

#include <functional>
#include <memory>

#include "client/gateway/call.h"
#include "server/net/http_server.h"

namespace prometheus {
class Collectable;
class Counter;
class Histogram;
class Registry;
template <typename T>
class Family;
}  // namespace prometheus

namespace recurve::gateway {

// Thread-safe.
class GatewayMetrics {
 public:
  GatewayMetrics();
  ~GatewayMetrics();

  void ObserveCall(const CallEnd& end);

  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  // Owned by the registry.
  prometheus::Family<prometheus::Counter>* calls_;
  prometheus::Family<prometheus::Histogram>* seconds_;
  prometheus::Counter* prompt_tokens_;
  prometheus::Counter* generated_tokens_;
};

// The HTTP port's connections and whether calls are welcome, looked at when they are asked for.
// `server`, and what `ready` asks, must stay valid as long as somebody collects.
std::shared_ptr<prometheus::Collectable> MakeStateMetrics(const HttpServer* server,
                                                          std::function<bool()> ready);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_GATEWAY_METRICS_H_
