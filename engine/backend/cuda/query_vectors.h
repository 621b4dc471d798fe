// SPDX-License-Identifier: Apache-2.0
// How attention on tensor cores deals query vectors to blocks.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_QUERY_VECTORS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_QUERY_VECTORS_H_

#include <cstdint>

#include "engine/backend/cuda/attention_bf16.h"
#include "engine/base/host_device.h"

namespace recurve::cuda {

inline constexpr uint32_t kVectors = 16;  // query vectors of a block

// The query vectors of a block: consecutive rows of one slot, and of each the same heads. Vector v
// is head v % heads of row v / heads.
struct VectorBlock {
  uint32_t first_row = 0;
  uint32_t rows = 0;
  uint32_t kv_head = 0;
  uint32_t first_head = 0;
  uint32_t heads = 0;

  RECURVE_HOST_DEVICE bool Has(uint32_t vector) const { return vector < rows * heads; }
  RECURVE_HOST_DEVICE uint32_t RowOf(uint32_t vector) const { return first_row + vector / heads; }
  RECURVE_HOST_DEVICE uint32_t HeadOf(uint32_t vector) const { return first_head + vector % heads; }
  // Of eight vectors each.
  RECURVE_HOST_DEVICE uint32_t Halves() const { return rows * heads > 8 ? 2 : 1; }
};

// How rows and heads are dealt to blocks.
struct VectorCut {
  uint32_t heads;  // that share a KV head
  uint32_t parts;  // items that share them
  uint32_t items;  // of a row
  RECURVE_HOST_DEVICE VectorCut(const KvLayout& layout, uint32_t all_heads)
      : heads(all_heads / layout.kv_heads),
        parts((heads + kVectors - 1) / kVectors),
        items(layout.kv_heads * parts) {}
  RECURVE_HOST_DEVICE uint32_t RowsAtOnce() const {
    return heads < kVectors ? kVectors / heads : 1;
  }
};

#if defined(RECURVE_DEVICE)

// The vectors of item `item`; no rows for a row that another item has with it. Each lane looks at a
// row, all at once.
RECURVE_DEVICE inline VectorBlock BlockOf(const AttentionBf16Args& args, const VectorCut& cut,
                                          uint32_t item, uint32_t rows) {
  VectorBlock block;
  const uint32_t part = item % cut.parts;
  block.kv_head = item / cut.parts % args.layout.kv_heads;
  block.first_row = item / cut.parts / args.layout.kv_heads;
  block.first_head = block.kv_head * cut.heads + part * kVectors;
  const uint32_t left = cut.heads - part * kVectors;
  block.heads = left < kVectors ? left : kVectors;
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  const uint32_t at_once = cut.RowsAtOnce();
  const uint32_t in_row = block.first_row % at_once;
  const uint32_t row = block.first_row - in_row + lane;
  bool is_same = false;
  if (lane < at_once && row < rows)
    is_same = args.rows[row].slot == args.rows[block.first_row].slot;
  const uint32_t same = simt::Ballot(is_same);
  if (in_row != 0 && (same >> (in_row - 1)) % 2 != 0) return block;
  while ((same >> (in_row + block.rows)) % 2 != 0) ++block.rows;
  return block;
}

#endif  // RECURVE_DEVICE

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_QUERY_VECTORS_H_
