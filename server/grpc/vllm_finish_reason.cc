// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/vllm_finish_reason.h"

namespace recurve {

const char* VllmFinishReason(EndReason reason) {
  switch (reason) {
    case EndReason::kEndOfSequence:
    case EndReason::kStopString:
    case EndReason::kStopToken:
      return "stop";
    case EndReason::kLength:
    case EndReason::kContextLimit:
      return "length";
    default:  // the server drains; the others are told as a status
      return "abort";
  }
}

}  // namespace recurve
