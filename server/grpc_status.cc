// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_status.h"

#include <grpcpp/support/status.h>

#include <string>

namespace recurve {

grpc::Status ToGrpc(const absl::Status& status) {
  constexpr size_t kMaxMessageBytes = 1024;
  if (status.ok()) return grpc::Status::OK;
  // The codes of both are the canonical ones, with the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kMaxMessageBytes)));
}

}  // namespace recurve
