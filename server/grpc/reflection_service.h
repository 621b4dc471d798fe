// SPDX-License-Identifier: Apache-2.0
// The standard reflection services, for those who may call. gRPC brings one (v1alpha), which
// answers everybody.
#ifndef RECURVE_SERVER_GRPC_REFLECTION_SERVICE_H_
#define RECURVE_SERVER_GRPC_REFLECTION_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "server/grpc/authenticator.h"

namespace grpc {
class Service;
}

namespace recurve {

inline constexpr char kReflectionName[] = "grpc.reflection.v1.ServerReflection";
inline constexpr char kReflectionAlphaName[] = "grpc.reflection.v1alpha.ServerReflection";

// Both tell of `services`, by their full names, and of what protobuf has linked of them.
// `authenticator` must outlive them.
std::unique_ptr<grpc::Service> MakeReflectionService(std::vector<std::string> services,
                                                     const Authenticator* authenticator);
std::unique_ptr<grpc::Service> MakeReflectionAlphaService(std::vector<std::string> services,
                                                          const Authenticator* authenticator);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_REFLECTION_SERVICE_H_
