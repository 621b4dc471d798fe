// SPDX-License-Identifier: Apache-2.0
// The engine's counters and gauges as metrics, read when they are asked for.
#ifndef RECURVE_SERVER_OBSERVE_ENGINE_METRICS_H_
#define RECURVE_SERVER_OBSERVE_ENGINE_METRICS_H_

#include <atomic>
#include <memory>

#include "engine/engine.h"
#include "server/options.h"

namespace prometheus {
class Collectable;
}

namespace recurve {

// Collects nothing of the engine while `*engine` is null. Both pointers must stay valid as long as
// somebody collects.
std::shared_ptr<prometheus::Collectable> MakeEngineMetrics(const std::atomic<Engine*>* engine,
                                                           const ServerOptions* options);

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_ENGINE_METRICS_H_
