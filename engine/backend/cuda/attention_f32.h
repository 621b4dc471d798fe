// SPDX-License-Identifier: Apache-2.0
// Attention of --precision=f32, in the CPU's written order (arithmetic.h): the oracle of the
// device, not tuned. For each row and each query head, over the entries that the row sees:
//
//   score = pair sum over the dimensions * scale; p = exp(score - largest); sum = lane sum of p;
//   y = pair sum over the entries of p and value * (1 / sum)
//
// A block takes one row and KV head, and the query heads that share it one after the other. Bytes:
// 8 * head_dim * entries for each query head; FLOPs: 4 * head_dim * entries.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_F32_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_F32_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

struct AttentionArgs {
  RowSet set;
  TableSizes sizes;
  KvLayout layout;
  uint32_t heads = 0;
  uint32_t layer = 0;  // in the row's cache group
  simt::In<ListCounts> counts;
  simt::In<Row> rows;
  SlotTables<simt::In> slots;
  simt::In<uint32_t> entry_positions;  // [pages][layout.page_capacity]
  simt::In<float> pages;               // the pool
  simt::In<float> q;                   // [rows][heads * head_dim], rotated, not scaled
  simt::Out<float> y;                  // [rows][heads * head_dim]
  simt::Out<uint64_t> mass;            // SlotTables::mass
  // Of each block of the launch: the probabilities and places of the entries that a row sees.
  simt::Out<float> probabilities;  // [blocks][max_positions]
  simt::Out<uint64_t> places;      // [blocks][max_positions]
};

// Blocks of a launch: as many as have scratch.
uint32_t AttentionBlocks(const Runtime& runtime);

absl::Status LaunchAttention(Runtime& runtime, const AttentionArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_F32_H_
