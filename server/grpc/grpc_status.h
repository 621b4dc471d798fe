// SPDX-License-Identifier: Apache-2.0
// absl::Status, the error currency inside, to what goes over the wire.
#ifndef RECURVE_SERVER_GRPC_GRPC_STATUS_H_
#define RECURVE_SERVER_GRPC_GRPC_STATUS_H_

#include "absl/status/status.h"

namespace grpc {
class Status;
}

namespace recurve {

// Same code, same message; a message is cut at 1 KiB, since peers bound what they accept as
// metadata.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_GRPC_STATUS_H_
