// SPDX-License-Identifier: Apache-2.0
// All memory of a device that steps use beside the weights: allocated once, by name, and never
// again.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_DEVICE_STATE_H_
#define RECURVE_ENGINE_BACKEND_CUDA_DEVICE_STATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/attention_split.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/backend/precision.h"
#include "engine/model/config.h"

namespace recurve::cuda {

inline constexpr uint32_t kMostOutstanding = 2;

struct DeviceState {
  StepMemory step;
  Precision precision = Precision::kF32;
  KvLayout layout;
  ResultLayout result_layout;
  uint32_t row_logprobs = 0;  // most of one row: its own token's and the most likely ones

  DeviceMemory pages, entry_positions, entry_scores;  // the pool
  DeviceMemory hidden_rows, stream, gate, depth, score;
  // Of the rows of a stage. In bf16 q, attended and gated are bf16, the latter two operands of
  // products; operand and squares stand beside x (residual.h).
  DeviceMemory x, q, attended, gated, logits, operand, squares;
  DeviceMemory plain_x, plain_y;  // for products of the device's library, if it makes some
  DeviceMemory cos, sin, frequencies;
  DeviceMemory probabilities, places;  // scratch of attention in f32
  SplitSizes split;                    // of attention in bf16, and its scratch (attention_split.h)
  DeviceMemory split_states, split_outputs, split_came;
  DeviceMemory adjusted, weights, logprobs;  // ... of sampling
  DeviceMemory evict_positions, evict_stays, evict_holes, evict_survivors, evict_scores;
  DeviceMemory stamps;
  DeviceMemory raw_logits;  // [kMostOutstanding][ends][vocab]

  DeviceMemory plan;     // words of the step that runs
  MappedMemory plans;    // [kMostOutstanding][plan_words]: of steps that were submitted
  MappedMemory results;  // [kMostOutstanding][result_layout.words]
  uint32_t plan_words = 0;
};

// All but the pool; limits.pages do not count. `has_library`: what its products need too. Resource-
// Exhausted names the memory, the bytes asked for and those that are free.
absl::StatusOr<DeviceState> AllocateDeviceState(Runtime& runtime, const ModelConfig& config,
                                                const BackendLimits& limits, Precision precision,
                                                bool has_library);

// Then the pool. Errors as above.
absl::Status AllocatePages(Runtime& runtime, uint32_t pages, DeviceState& state);

// Bytes of memory that one page takes, all told.
uint64_t PageBytes(const ModelConfig& config, Precision precision);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_DEVICE_STATE_H_
