// SPDX-License-Identifier: Apache-2.0
#include "engine/api/output.h"

namespace recurve {

std::string_view EndReasonName(EndReason reason) {
  switch (reason) {
    case EndReason::kEndOfSequence:
      return "end_of_sequence";
    case EndReason::kStopString:
      return "stop_string";
    case EndReason::kStopToken:
      return "stop_token";
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
      return "deadline_exceeded";
    case EndReason::kQueueTimeout:
      return "queue_timeout";
    case EndReason::kFailed:
      return "failed";
  }
  return "";
}

absl::Status StatusOf(EndReason reason, const absl::Status& failure) {
  switch (reason) {
    case EndReason::kCancelled:
      return absl::CancelledError("the request was cancelled");
    case EndReason::kDeadline:
      return absl::DeadlineExceededError("the request's deadline passed before it was done");
    case EndReason::kQueueTimeout:
      return absl::ResourceExhaustedError("the request waited as long as its queue_timeout allows");
    case EndReason::kFailed:
      return failure;
    default:
      return absl::OkStatus();
  }
}

DepthCounts DepthCounts::None(uint32_t recursions) {
  return {std::vector<uint64_t>(recursions), std::vector<uint64_t>(recursions)};
}

double DepthCounts::Mean() const {
  double entry_rows = 0, block_rows = 0;
  for (size_t i = 0; i < rows_by_depth.size(); ++i) {
    entry_rows += static_cast<double>(rows_by_depth[i]);
    block_rows += static_cast<double>(rows_by_depth[i]) * static_cast<double>(i + 1);
  }
  return entry_rows > 0 ? block_rows / entry_rows : 0.0;
}

}  // namespace recurve
