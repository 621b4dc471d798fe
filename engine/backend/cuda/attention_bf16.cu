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
RECURVE_KERNEL(kThreads, 2)
AttentionBf16Kernel(const AttentionBf16Args args) {
  simt::GridLaunch();
  simt::SharedMemory shared;
  BlockAttention<kSteps> attention(args, shared);
  const VectorCut cut(args);
  simt::GridWait();
  const uint32_t rows = CountOf(args.counts[0], args.set);
  const uint32_t items = rows * args.layout.kv_heads * cut.parts;
  for (uint32_t item = simt::BlockIndex(); item < items; item += simt::GridSize()) {
    const VectorBlock block = BlockOf(args, cut, item, rows);
    if (block.rows > 0) attention.Run(block);
  }
}

template <uint32_t kSteps>
absl::Status LaunchSteps(Runtime& runtime, uint32_t rows, bool programmatic,
                         const AttentionBf16Args& args) {
  const uint32_t most = 16 * runtime.facts().multiprocessors;
  const uint32_t items = rows * args.layout.kv_heads * VectorCut(args).parts;
  const LaunchShape shape = {
      .blocks = std::min(items, most),
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

absl::Status LaunchAttention(Runtime& runtime, uint32_t rows, bool programmatic,
                             const AttentionBf16Args& args) {
  const uint32_t head_dim = args.layout.head_dim;
  if (head_dim <= 32) return LaunchSteps<2>(runtime, rows, programmatic, args);
  if (head_dim <= 64) return LaunchSteps<4>(runtime, rows, programmatic, args);
  if (head_dim <= 96) return LaunchSteps<6>(runtime, rows, programmatic, args);
  if (head_dim <= kMostHeadDim) return LaunchSteps<8>(runtime, rows, programmatic, args);
  return CheckHeadDim(head_dim);
}

}  // namespace recurve::cuda
