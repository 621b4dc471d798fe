// SPDX-License-Identifier: Apache-2.0
// Plans that touch one page twice, one for each pair of changes that step.h speaks of: every
// backend carries out or refuses the same ones.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_PAGE_PAIRS_H_
#define RECURVE_TESTS_ENGINE_BACKEND_PAGE_PAIRS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve {

inline constexpr StepShape kPairsShape = {.recursions = 2, .shared_kv = 0};
inline constexpr BackendLimits kPairsLimits = {
    {.slots = 5, .chunk = 4, .ends = 5, .block_rows = 5}, /*pages=*/20, /*max_positions=*/64};
// Groups 1 and 2, four entries a page.
inline constexpr std::array<uint32_t, kMaxGroups> kPairsEntriesPerPage = {0, 4, 4, 0};

struct PagePair {
  std::string name;
  StepPlan plan;  // of epoch 2; runs no rows
  // What the refusal must name; empty: the plan is carried out.
  std::vector<std::string> refusal;
};

// The plan before those of PagePairs. Each slot holds 12 entries of group 1, in three pages: slot 0
// in 0, 1, 2; slot 1 in 3, 4, 5; slot 2 in 6, 7, 8; slot 3 in 6, 7, 9. Slot 4 has a room of two
// more and page 10 for them. Pages 11 to 13 are slot 4's others; those from 14 on are free.
StepPlan PagePairsBegin();

std::vector<PagePair> PagePairs();

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_PAGE_PAIRS_H_
