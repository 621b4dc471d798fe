// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/attention_bf16.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/attention_block.h"
#include "engine/backend/cuda/query_vectors.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kThreads = kAttentionWarps * simt::kWarp;

template <uint32_t kSteps>
RECURVE_KERNEL(kThreads, kSplitBlocks)
AttentionBf16Kernel(const AttentionBf16Args args) {
  simt::GridLaunch();
  simt::SharedMemory shared;
  BlockAttention<kSteps> attention(args, shared);
  const VectorCut cut(args.layout, args.heads);
  simt::GridWait();
  const uint32_t rows = CountOf(args.counts[0], args.set);
  const uint32_t items = rows * cut.items;
  const uint32_t blocks = BlocksOfItem(args.split.sizes, rows, items, simt::GridSize());
  for (uint32_t i = simt::BlockIndex(); i < items * blocks; i += simt::GridSize()) {
    const uint32_t item = i % items;
    const VectorBlock block = BlockOf(args, cut, item, rows);
    if (block.rows > 0) attention.Run(block, item, {i / items, blocks});
  }
}

// Of 16 dimensions each, an even number of them.
uint32_t StepsOfHead(uint32_t head_dim) { return (head_dim + 31) / 32 * 2; }

// A block for each item; more for those that may be split, up to one for each chunk.
uint32_t BlocksOf(const Runtime& runtime, uint32_t rows, const AttentionBf16Args& args) {
  const uint32_t multiprocessors = runtime.facts().multiprocessors;
  const uint32_t of_row = VectorCut(args.layout, args.heads).items;
  const SplitSizes& split = args.split.sizes;
  const uint32_t chunks = std::min(rows, split.rows) * of_row * split.chunks;
  return std::max(std::min(rows * of_row, 16 * multiprocessors),
                  std::min(chunks, kSplitBlocks * multiprocessors));
}

template <uint32_t kSteps>
absl::Status LaunchSteps(Runtime& runtime, uint32_t rows, bool programmatic,
                         const AttentionBf16Args& args) {
  const LaunchShape shape = {
      .blocks = BlocksOf(runtime, rows, args),
      .threads = kThreads,
      .shared_bytes = BlockAttention<kSteps>::SharedBytes(),
      .programmatic = programmatic,
      .work = AttentionWork(args.set, args.layout, args.heads, sizeof(Bf16))};
  return Launch(runtime, "attention_bf16", AttentionBf16Kernel<kSteps>, shape, args);
}

}  // namespace

absl::Status CheckHeadDim(uint32_t head_dim) {
  if (head_dim <= kMostHeadDim) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("head_dim is ", head_dim, "; in bf16 the backend cuda has heads of at most ",
                   kMostHeadDim, ": use --precision=f32 or --backend=cpu"));
}

SplitSizes SplitSizesOf(const Runtime& runtime, const KvLayout& layout, uint32_t heads,
                        uint32_t rows, uint32_t max_positions) {
  const uint32_t chunks = (max_positions + kChunkEntries - 1) / kChunkEntries;
  if (chunks < 2) return {};
  // With more rows there is but a block for each item.
  const uint32_t most =
      kSplitBlocks * runtime.facts().multiprocessors / 2 / VectorCut(layout, heads).items;
  return {std::min(rows, most), chunks};
}

uint32_t SplitPieces(uint32_t head_dim) { return 4 * StepsOfHead(head_dim); }

size_t SplitItems(const SplitSizes& split, const KvLayout& layout, uint32_t heads) {
  return size_t{split.rows} * VectorCut(layout, heads).items;
}

absl::Status LaunchAttention(Runtime& runtime, uint32_t rows, bool programmatic,
                             const AttentionBf16Args& args) {
  const uint32_t head_dim = args.layout.head_dim;
  switch (StepsOfHead(head_dim)) {
    case 2:
      return LaunchSteps<2>(runtime, rows, programmatic, args);
    case 4:
      return LaunchSteps<4>(runtime, rows, programmatic, args);
    case 6:
      return LaunchSteps<6>(runtime, rows, programmatic, args);
    case 8:
      return LaunchSteps<8>(runtime, rows, programmatic, args);
    default:
      return CheckHeadDim(head_dim);
  }
}

}  // namespace recurve::cuda
