// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/evictor.h"

#include "engine/sampling/arithmetic.h"

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
  EvictionRule rule = {slot.eviction, slot.sinks, slot.recent};
  uint64_t* const mass = Mass(evict.slot, evict.group);
  // Only who was let into a recursion by a router has its score.
  const bool has_scores =
      shape_.shared_kv == 0 && evict.group > 1 && evict.group < shape_.exit_group();
  if (rule.policy == EvictionPolicy::kRouter && !has_scores) rule.policy = EvictionPolicy::kWindow;
  positions_.clear();
  scores_.clear();
  for (uint32_t entry = 0; entry < evict.count; ++entry) {
    positions_.push_back(pool.Position(slot, evict.group, entry));
    if (rule.policy == EvictionPolicy::kAttention) scores_.push_back(mass[entry]);
    if (rule.policy == EvictionPolicy::kRouter) {
      // Signed order as unsigned order.
      const int32_t key = OrderKey(pool.Score(slot, evict.group, entry));
      scores_.push_back(static_cast<uint32_t>(key) ^ 0x80000000U);
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
