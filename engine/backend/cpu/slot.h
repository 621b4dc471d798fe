// SPDX-License-Identifier: Apache-2.0
// What the backend knows of one sequence.
#ifndef RECURVE_ENGINE_BACKEND_CPU_SLOT_H_
#define RECURVE_ENGINE_BACKEND_CPU_SLOT_H_

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/backend/step.h"
#include "engine/sampling/params.h"

namespace recurve {

inline constexpr uint32_t kNoPage = std::numeric_limits<uint32_t>::max();

// One sequence. Written by SlotTable alone.
struct Slot {
  SlotState state;  // stage kNone: free or finished
  SlotLimits limits;
  uint32_t area = kNoArea;
  SamplingParams sampling;
  float threshold_logit = 0.0F;
  uint32_t logprobs = kNoLogprobs;
  uint32_t wants = 0;
  EvictionPolicy eviction = EvictionPolicy::kNone;
  uint32_t sinks = 0;
  uint32_t recent = 0;
  std::vector<TokenBias> biases;
  std::vector<uint32_t> stop_ids;
  std::vector<uint32_t> tokens;  // [max_positions]: a ring, read by TokenAt
  // Of each group, [entries / per page]; kNoPage.
  std::array<std::vector<uint32_t>, kMaxGroups> pages;
  std::vector<DepthCap> caps;       // ascending positions
  std::vector<uint32_t> active;     // [state.active]: rows that take state.recursion, ascending
  std::vector<uint32_t> row_depth;  // [state.rows]: recursions that each row of the span has run

  // The token at `position`, which is at most max_positions behind that of the span in flight;
  // kNoToken where nothing is known yet.
  uint32_t TokenAt(uint32_t position) const { return tokens[position % tokens.size()]; }
  bool InPrompt() const { return state.position < limits.prompt; }
  // Most recursions that the token at `position` may run.
  uint32_t CapAt(uint32_t position, uint32_t recursions) const;
  // Rows of the span in flight whose logits somebody wants; the last ones of the span.
  uint32_t LogitRows() const;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_SLOT_H_
