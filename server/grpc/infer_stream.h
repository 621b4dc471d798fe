// SPDX-License-Identifier: Apache-2.0
// ModelStreamInfer: many requests over one stream, each a call of its own to the engine.
#ifndef RECURVE_SERVER_GRPC_INFER_STREAM_H_
#define RECURVE_SERVER_GRPC_INFER_STREAM_H_

#include "server/grpc/doorway.h"

namespace grpc {
template <typename Request, typename Response>
class ServerBidiReactor;
}
namespace inference {
class ModelInferRequest;
class ModelStreamInferResponse;
}  // namespace inference

namespace recurve {

// Requests of one stream that are answered, or whose responses wait to be written, at once. No
// further one is read meanwhile.
inline constexpr size_t kMaxOpenInfers = 256;

// Reads requests as they come, begins a call for each, and writes their responses in the order in
// which they become ready. The stream ends with OK when its client has half-closed and the last
// response has been written. The reactor lives until gRPC is done with it; `doorway` must outlive
// it.
grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
StartInferStream(Doorway* doorway, grpc::CallbackServerContext* grpc_context);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_INFER_STREAM_H_
