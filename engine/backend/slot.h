// SPDX-License-Identifier: Apache-2.0
// What the backend knows of one sequence.
#ifndef RECURVE_ENGINE_BACKEND_SLOT_H_
#define RECURVE_ENGINE_BACKEND_SLOT_H_

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/backend/rows.h"
#include "engine/backend/step.h"
#include "engine/sampling/params.h"

namespace recurve {

inline constexpr uint32_t kNoPage = std::numeric_limits<uint32_t>::max();

// One sequence. Written by SlotTable alone.
struct Slot : SlotRecord {
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
  // Most recursions that the token at `position` may run.
  uint32_t CapAt(uint32_t position, uint32_t recursions) const {
    return recurve::CapAt(caps.data(), static_cast<uint32_t>(caps.size()), position, recursions);
  }
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_SLOT_H_
