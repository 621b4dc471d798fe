// SPDX-License-Identifier: Apache-2.0
// Drops entries from cache groups, and keeps the attention mass by which some are chosen.
#ifndef RECURVE_ENGINE_BACKEND_CPU_EVICTOR_H_
#define RECURVE_ENGINE_BACKEND_CPU_EVICTOR_H_

#include <cstdint>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/kv_pool.h"
#include "engine/backend/eviction.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"

namespace recurve {

// Mass belongs to the sequence and lies here, by slot; positions and router scores belong to the
// entry and lie beside it in the pool. Thread-compatible, but for what Mass points to, which
// several threads may add to at once.
class Evictor {
 public:
  // Takes memory for `limits` beside that of slots with EvictionPolicy::kAttention, which each take
  // theirs with the first such sequence.
  Evictor(const StepShape& shape, const BackendLimits& limits);

  // A new sequence was admitted to slot `id`.
  void Reset(uint32_t id, EvictionPolicy policy);

  // What the entries of a slot's group have got: [entries], or null where nobody asks.
  uint64_t* Mass(uint32_t id, uint32_t group);

  // Carries out a command that the slot table has found in order.
  void Run(const Slot& slot, const Evict& evict, KvPool& pool);

 private:
  const StepShape shape_;
  const uint32_t max_positions_;
  Eviction eviction_;
  std::vector<uint32_t> positions_;            // of the group at hand
  std::vector<uint64_t> scores_;               // of the group at hand
  std::vector<std::vector<uint64_t>> masses_;  // [slots], [groups][max_positions] or empty
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_EVICTOR_H_
