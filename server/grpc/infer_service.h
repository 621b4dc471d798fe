// SPDX-License-Identifier: Apache-2.0
// inference.GRPCInferenceService, the Open Inference Protocol, over gRPC's callback API.
#ifndef RECURVE_SERVER_GRPC_INFER_SERVICE_H_
#define RECURVE_SERVER_GRPC_INFER_SERVICE_H_

#include <memory>

#include "server/grpc/doorway.h"

namespace grpc {
class Service;
}

namespace recurve {

inline constexpr char kInferServiceName[] = "inference.GRPCInferenceService";

// `doorway` must outlive the service and every call that it has received.
std::unique_ptr<grpc::Service> MakeInferService(Doorway* doorway);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_INFER_SERVICE_H_
