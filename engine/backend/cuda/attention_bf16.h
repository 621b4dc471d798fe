// SPDX-License-Identifier: Apache-2.0
// Attention of --precision=bf16 on tensor cores. For each row and query head, over the entries that
// the row sees:
//
//   score = q k * scale; p = exp(score - largest); y = sum of bf16(p) v * (1 / sum of p)
//
// A block takes a KV head of up to 16 query vectors: the heads that share it, of one row or of rows
// that follow each other in one slot's span. Four warps share the entries.
//
// The bits of a vector: entries are taken in groups of 32 and chunks of 256. Warp w takes the
// groups w and w + 4 of a chunk one after the other, with a running largest score. Its chunks are
// merged in order, and then the four warps'. They depend on the row and its entries alone, not on
// what else a block holds, nor on how many blocks share a KV head's chunks (attention_split.h).
// Scores and outputs are sums as the tensor cores make them, in order of
// dimensions and of entries.
//
// Bytes: 4 * head_dim * entries of keys and values for each KV head and block; FLOPs: 4 * head_dim
// * entries for each query head, of which the tensor cores do 16 whatever the number.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BF16_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BF16_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_split.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

inline constexpr uint32_t kMostHeadDim = 128;

struct AttentionBf16Args {
  RowSet set;
  TableSizes sizes;
  KvLayout layout;
  uint32_t heads = 0;
  uint32_t layer = 0;  // in the row's cache group
  simt::In<ListCounts> counts;
  simt::In<Row> rows;
  SlotTables<simt::In> slots;
  simt::In<uint32_t> entry_positions;  // [pages][layout.page_capacity]
  simt::In<simt::Words2> pages;        // the pool
  simt::In<simt::Words2> q;            // [rows][heads][layout.stride], rotated, not scaled
  simt::Out<Bf16> y;                   // the operand of heads * head_dim values
  simt::Out<uint64_t> mass;            // SlotTables::mass
  AttentionSplit split;
};

// InvalidArgument for heads larger than kMostHeadDim.
absl::Status CheckHeadDim(uint32_t head_dim);

// What AttentionSplit has to have room for: steps of so few rows that two blocks and more of those
// which run side by side come to each of their KV heads, `rows` at most. None where no row has more
// than a chunk.
SplitSizes SplitSizesOf(const Runtime& runtime, const KvLayout& layout, uint32_t heads,
                        uint32_t rows, uint32_t max_positions);
// Of a head's outputs.
uint32_t SplitPieces(uint32_t head_dim);
// Counters.
size_t SplitItems(const SplitSizes& split, const KvLayout& layout, uint32_t heads);

// `rows`: as many as are expected at most; more take longer. Errors as CheckHeadDim's.
absl::Status LaunchAttention(Runtime& runtime, uint32_t rows, bool programmatic,
                             const AttentionBf16Args& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BF16_H_
