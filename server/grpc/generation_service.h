// SPDX-License-Identifier: Apache-2.0
// recurve.v1.GenerationService over gRPC's callback API.
#ifndef RECURVE_SERVER_GRPC_GENERATION_SERVICE_H_
#define RECURVE_SERVER_GRPC_GENERATION_SERVICE_H_

#include <memory>

#include "server/grpc/doorway.h"

namespace grpc {
class Service;
}

namespace recurve {

inline constexpr char kGenerationServiceName[] = "recurve.v1.GenerationService";

// `doorway` must outlive the service and every call that it has received.
std::unique_ptr<grpc::Service> MakeGenerationService(Doorway* doorway);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_GENERATION_SERVICE_H_
