// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

namespace recurve {

// The output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014, with Stafford's constants "Mix13"), which is one to one: no two samples
// after the first share a seed.
uint64_t SampleSeed(uint64_t seed, uint32_t sample) {
  if (sample == 0) return seed;
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 over the golden ratio
  uint64_t z = seed + sample * kGolden;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

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

std::string_view StepPartName(int part) {
  static constexpr std::string_view kNames[EngineSnapshot::kParts] = {"exit", "sampling", "entry",
                                                                      "block", "routers"};
  return kNames[part];
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
