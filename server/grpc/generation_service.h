// SPDX-License-Identifier: Apache-2.0
// recurve.v1.GenerationService over gRPC's callback API.
#ifndef RECURVE_SERVER_GRPC_GENERATION_SERVICE_H_
#define RECURVE_SERVER_GRPC_GENERATION_SERVICE_H_

#include <memory>

#include "server/call/call.h"
#include "server/call/intake.h"
#include "server/grpc/authenticator.h"

namespace grpc {
class Service;
}

namespace recurve {

inline constexpr char kGenerationServiceName[] = "recurve.v1.GenerationService";

// The arguments must outlive the service and every call that it has received.
std::unique_ptr<grpc::Service> MakeGenerationService(CallContext* context, Intake* intake,
                                                     const Authenticator* authenticator);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_GENERATION_SERVICE_H_
