// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

namespace recurve {

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence: return "end_of_sequence";
    case FinishReason::kStopString: return "stop_string";
    case FinishReason::kStopToken: return "stop_token";
    case FinishReason::kLength: return "length";
    case FinishReason::kContextLimit: return "context_limit";
    case FinishReason::kTimeLimit: return "time_limit";
    case FinishReason::kDrained: return "drained";
  }
  return "";
}

std::string_view StepPartName(int part) {
  static constexpr std::string_view kNames[EngineSnapshot::kParts] = {"exit", "sampling", "entry",
                                                                      "block", "routers"};
  return kNames[part];
}

double DepthCounts::Mean() const {
  double tokens = 0, recursions = 0;
  for (size_t i = 0; i < by_depth.size(); ++i) {
    tokens += static_cast<double>(by_depth[i]);
    recursions += static_cast<double>(by_depth[i]) * static_cast<double>(i + 1);
  }
  return tokens > 0 ? recursions / tokens : 0.0;
}

}  // namespace recurve
