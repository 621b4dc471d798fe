// SPDX-License-Identifier: Apache-2.0
// vllm.grpc.engine.VllmEngine over gRPC's callback API: what inference gateways speak.
#ifndef RECURVE_SERVER_GRPC_VLLM_SERVICE_H_
#define RECURVE_SERVER_GRPC_VLLM_SERVICE_H_

#include <memory>

#include "server/grpc/doorway.h"

namespace grpc {
class Service;
}

namespace recurve {

inline constexpr char kVllmServiceName[] = "vllm.grpc.engine.VllmEngine";

// `doorway` must outlive the service and every call that it has received.
std::unique_ptr<grpc::Service> MakeVllmService(Doorway* doorway);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_VLLM_SERVICE_H_
