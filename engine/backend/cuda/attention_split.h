// SPDX-License-Identifier: Apache-2.0
// Attention of few rows over more blocks than they have KV heads, for long contexts: each block
// takes some chunks of an item's entries and leaves what they made in memory, chunk by chunk; the
// last one that comes merges it all in the order in which one block would have. So no bit depends
// on how many blocks there are, and a launch need not know how long contexts are.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_SPLIT_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_SPLIT_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/softmax_state.h"
#include "engine/base/host_device.h"

namespace recurve::cuda {

inline constexpr uint32_t kGroupEntries = 32;  // that a warp takes at once
inline constexpr uint32_t kAttentionWarps = 4;
inline constexpr uint32_t kChunkGroups = 2;  // of a warp, in a chunk
inline constexpr uint32_t kChunkEntries = kChunkGroups * kAttentionWarps * kGroupEntries;
inline constexpr uint32_t kSplitBlocks = 2;  // that run side by side on a multiprocessor

struct alignas(16) Floats4 {
  float v[4];
};

struct SplitSizes {
  uint32_t rows = 0;    // a step with more of them is not split; 0: none is
  uint32_t chunks = 0;  // most of a row
  // Of a launch; `heads`: of a row.
  size_t Partials(uint32_t heads) const { return size_t{rows} * heads * chunks * kAttentionWarps; }
};

// Memory of a launch.
struct AttentionSplit {
  SplitSizes sizes;
  simt::Out<SoftmaxState> states;  // [rows][heads][chunks][warps]
  simt::Out<Floats4> outputs;      // the same, of each 4 * kSteps pieces
  simt::Out<uint32_t> came;        // [rows][VectorCut::items]: blocks; 0 between launches
};

// The blocks that share an item, and which of them this one is.
struct ItemShare {
  uint32_t index = 0;
  uint32_t blocks = 1;
};

// Blocks for each of a step's items, when a grid has so many.
RECURVE_HOST_DEVICE inline uint32_t BlocksOfItem(const SplitSizes& split, uint32_t rows,
                                                 uint32_t items, uint32_t grid) {
  return items > 0 && rows <= split.rows && grid > items ? grid / items : 1;
}

// A block's chunks [begin, end); none for those that are too many.
struct ChunkRange {
  uint32_t begin, end;
  uint32_t blocks;  // that have some
};
RECURVE_HOST_DEVICE inline ChunkRange ChunksOf(const ItemShare& share, uint32_t chunks) {
  const uint32_t at_once = (chunks + share.blocks - 1) / share.blocks;
  const uint32_t begin = share.index * at_once;
  const uint32_t end = begin + at_once < chunks ? begin + at_once : chunks;
  return {begin, end, (chunks + at_once - 1) / at_once};
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_SPLIT_H_
