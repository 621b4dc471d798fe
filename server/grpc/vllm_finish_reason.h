// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_GRPC_VLLM_FINISH_REASON_H_
#define RECURVE_SERVER_GRPC_VLLM_FINISH_REASON_H_

#include "engine/api/output.h"

namespace recurve {

// vLLM's word for how a sample ended, which its gRPC service and its backend for Triton share.
const char* VllmFinishReason(EndReason reason);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_VLLM_FINISH_REASON_H_
