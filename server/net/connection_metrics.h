// SPDX-License-Identifier: Apache-2.0
// The gRPC port's connections as metrics, counted when they are asked for.
#ifndef RECURVE_SERVER_NET_CONNECTION_METRICS_H_
#define RECURVE_SERVER_NET_CONNECTION_METRICS_H_

#include <memory>

namespace prometheus {
class Collectable;
}

namespace recurve {

class Acceptor;

// `acceptor` must stay valid as long as somebody collects.
std::shared_ptr<prometheus::Collectable> MakeConnectionMetrics(Acceptor* acceptor);

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_CONNECTION_METRICS_H_
