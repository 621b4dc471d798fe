// SPDX-License-Identifier: Apache-2.0
#include "engine/api/output.h"

namespace recurve {

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence:
      return "end_of_sequence";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kStopToken:
      return "stop_token";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContextLimit:
      return "context_limit";
    case FinishReason::kTimeLimit:
      return "time_limit";
    case FinishReason::kDrained:
      return "drained";
  }
  return "";
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
