// SPDX-License-Identifier: Apache-2.0
// How fast the CPU backend's attention is by itself.
#ifndef RECURVE_ENGINE_BENCH_ATTENTION_H_
#define RECURVE_ENGINE_BENCH_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/cpu/kernels/isa.h"
#include "engine/backend/precision.h"
#include "engine/model/config.h"

namespace recurve {

struct AttentionFigures {
  uint32_t entries = 0;    // that a row sees
  uint32_t rows = 0;       // that attend together: 1, or as many as of a prompt's chunk
  double from_memory = 0;  // seconds for each row, entry and KV head, with all its query heads
  double from_cache = 0;   // the same with keys and values that were just read
};

// On one thread, with contexts of 128, 1,024 and 4,096 entries: medians of `rounds` rounds, of
// random numbers by `seed`. Takes 256 MB. RESOURCE_EXHAUSTED when there is no memory.
absl::StatusOr<std::vector<AttentionFigures>> MeasureAttention(const ModelConfig& config, Isa isa,
                                                               Precision kv_precision,
                                                               uint32_t rounds, uint64_t seed);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_ATTENTION_H_
