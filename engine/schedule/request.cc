// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/request.h"

namespace recurve {

std::string_view EndReasonName(EndReason reason) {
  switch (reason) {
    case EndReason::kEndOfSequence:
      return "end_of_sequence";
    case EndReason::kStopToken:
      return "stop_token";
    case EndReason::kStopString:
      return "stop_string";
    case EndReason::kLength:
      return "length";
    case EndReason::kContextLimit:
      return "context_limit";
    case EndReason::kTimeLimit:
      return "time_limit";
    case EndReason::kDrained:
      return "drained";
    case EndReason::kCancelled:
      return "cancelled";
    case EndReason::kDeadline:
      return "deadline";
    case EndReason::kQueueTimeout:
      return "queue_timeout";
    case EndReason::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace recurve
