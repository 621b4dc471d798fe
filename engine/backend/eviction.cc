// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/eviction.h"

#include <algorithm>
#include <numeric>

#include "engine/base/check.h"

namespace recurve {

Eviction::Eviction(uint32_t entries) {
  order_.reserve(entries);
  stays_.reserve(entries);
  moves_.reserve(entries);
}

std::span<const EntryMove> Eviction::Choose(const EvictionRule& rule, uint32_t keep,
                                            std::span<const uint32_t> positions,
                                            std::span<const uint64_t> scores) {
  const auto count = static_cast<uint32_t>(positions.size());
  RECURVE_CHECK(keep >= 1 && keep <= count);
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0U);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return positions[a] < positions[b]; });
  const bool by_score =
      rule.policy == EvictionPolicy::kAttention || rule.policy == EvictionPolicy::kRouter;
  const uint32_t sinks = std::min(rule.sinks, keep);
  const uint32_t recent = by_score ? std::min(rule.recent, keep - sinks) : keep - sinks;
  const uint32_t chosen = keep - sinks - recent;
  stays_.assign(count, 0);
  for (uint32_t i = 0; i < sinks; ++i) stays_[order_[i]] = 1;
  for (uint32_t i = count - recent; i < count; ++i) stays_[order_[i]] = 1;
  if (chosen > 0) {
    RECURVE_CHECK(scores.size() == count);
    const auto middle = order_.begin() + sinks;
    std::nth_element(middle, middle + (chosen - 1), order_.end() - recent,
                     [&](uint32_t a, uint32_t b) {
                       if (scores[a] != scores[b]) return scores[a] > scores[b];
                       return positions[a] > positions[b];
                     });
    for (auto i = middle; i != middle + chosen; ++i) stays_[*i] = 1;
  }
  moves_.clear();
  uint32_t hole = 0;
  for (uint32_t entry = keep; entry < count; ++entry) {
    if (stays_[entry] == 0) continue;
    while (stays_[hole] != 0) ++hole;
    moves_.push_back({entry, hole++});
  }
  return moves_;
}

}  // namespace recurve
