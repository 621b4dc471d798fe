// SPDX-License-Identifier: Apache-2.0
// What the engine reports, as messages.
#ifndef RECURVE_SERVER_GRPC_RESPONSE_TO_PROTO_H_
#define RECURVE_SERVER_GRPC_RESPONSE_TO_PROTO_H_

#include <chrono>

#include "engine/engine.h"
#include "server/call/delta.h"
#include "server/observe/metrics.h"
#include "server/options.h"

namespace recurve {

namespace v1 {
class CompleteResponse;
class GenerateResponse;
class GetLoadResponse;
class GetModelInfoResponse;
}  // namespace v1

// Fill an empty message. `engine` names the tokens of top log probabilities.
void FillResponse(const Delta& delta, const Echo& echo, const Engine& engine,
                  v1::GenerateResponse* proto);
void FillResponse(const Delta& delta, const Echo& echo, const Engine& engine,
                  v1::CompleteResponse* proto);

void FillModelInfo(const EngineInfo& info, const ListenOptions& listen,
                   v1::GetModelInfoResponse* proto);
void FillLoad(const EngineInfo& info, const EngineSnapshot& snapshot,
              const Metrics::Latencies& latencies, std::chrono::duration<double> uptime,
              v1::GetLoadResponse* proto);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_RESPONSE_TO_PROTO_H_
