// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/evictor.h"

namespace recurve {

Evictor::Evictor(const StepShape& shape, const BackendLimits& limits)
    : shape_(shape),
      max_positions_(limits.max_positions),
      eviction_(limits.max_positions),
      masses_(limits.slots) {
  positions_.reserve(limits.max_positions);
  scores_.reserve(limits.max_positions);
}

void Evictor::Reset(uint32_t id, EvictionPolicy policy) {
  const bool needed = policy == EvictionPolicy::kAttention;
  masses_[id].assign(needed ? size_t{shape_.groups()} * max_positions_ : 0, 0);
}

uint64_t* Evictor::Mass(uint32_t id, uint32_t group) {
  return masses_[id].empty() ? nullptr : &masses_[id][size_t{group} * max_positions_];
}

void Evictor::Run(const Slot& slot, const Evict& evict, KvPool& pool) {
  const EvictionRule rule = RuleFor({slot.eviction, slot.sinks, slot.recent}, evict.group, shape_);
  uint64_t* const mass = Mass(evict.slot, evict.group);
  positions_.clear();
  scores_.clear();
  for (uint32_t entry = 0; entry < evict.count; ++entry) {
    positions_.push_back(pool.Position(slot, evict.group, entry));
    if (rule.policy == EvictionPolicy::kAttention) scores_.push_back(mass[entry]);
    if (rule.policy == EvictionPolicy::kRouter) {
      scores_.push_back(ScoreKey(pool.Score(slot, evict.group, entry)));
    }
  }
  for (const EntryMove& move : eviction_.Choose(rule, evict.keep, positions_, scores_)) {
    pool.Move(slot, evict.group, move);
    if (mass != nullptr) mass[move.to] = mass[move.from];
  }
  if (mass == nullptr) return;
  for (uint32_t entry = evict.keep; entry < evict.count; ++entry) mass[entry] = 0;
}

}  // namespace recurve
