// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/hidden_rows.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kMostThreads = 128;

// Number `i` of what a row reads.
template <typename T>
RECURVE_DEVICE float Source(const RowSources& from, const simt::Constant<T>& embedding,
                            const Row& row, uint32_t i) {
  if (from.source == RowSource::kEmbedding) {
    const TableSizes& sizes = from.sizes;
    const TokenId token =
        from.tokens[size_t{row.slot} * sizes.max_positions + row.position % sizes.max_positions];
    return token < sizes.vocab ? Widen(embedding[size_t{token} * from.hidden + i]) : 0.0F;
  }
  const bool second = from.source == RowSource::kBlock && from.has_stream && row.recursion > 1;
  const size_t at = size_t{row.hidden} * from.hidden + i;
  return second ? from.stream[at] : from.hidden_rows[at];
}

RECURVE_DEVICE void StampBlock(const RowSources& from) {
  const bool is_first = simt::BlockIndex() == 0 && simt::ThreadIndex() == 0;
  if (from.source == RowSource::kBlock && is_first)
    from.stamps.Set(kPartBlock, simt::GlobalTimer());
}

RECURVE_KERNEL(kMostThreads) LoadRowsKernel(const LoadRowsArgs args) {
  simt::GridWait();
  const RowSources& from = args.from;
  StampBlock(from);
  const uint32_t rows = CountOf(from.counts[0], from.set);
  for (uint32_t r = simt::BlockIndex(); r < rows; r += simt::GridSize()) {
    const Row& row = from.rows[r];
    for (uint32_t i = simt::ThreadIndex(); i < from.hidden; i += simt::BlockSize()) {
      args.x.Set(size_t{r} * from.hidden + i, Source(from, args.embedding, row, i));
    }
  }
}

// A warp takes a tile of 16 columns of four rows at once.
RECURVE_KERNEL(kMostThreads) LoadRowsBf16Kernel(const LoadRowsBf16Args args) {
  simt::GridWait();
  const RowSources& from = args.from;
  StampBlock(from);
  const uint32_t rows = CountOf(from.counts[0], from.set);
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  const uint32_t tiles = StepsOf(from.hidden);
  const uint32_t warps = simt::BlockSize() / simt::kWarp;
  const uint32_t first = simt::BlockIndex() * warps + simt::ThreadIndex() / simt::kWarp;
  for (uint32_t item = first; item < (rows + 3) / 4 * tiles; item += simt::GridSize() * warps) {
    const uint32_t r = item / tiles * 4 + lane % 4;
    const uint32_t column = item % tiles * kTileOutputs + lane / 4;
    float x[2] = {0.0F, 0.0F};
    float gamma[2] = {0.0F, 0.0F};
    for (uint32_t half = 0; half < 2; ++half) {
      if (r >= rows || column + half * 8 >= from.hidden) continue;
      gamma[half] = args.to.gamma[column + half * 8];
      x[half] = Source(from, args.embedding, from.rows[r], column + half * 8);
    }
    StoreResidual(args.to, r, item % tiles, r < rows, gamma, x[0], x[1]);
  }
}

RECURVE_KERNEL(kMostThreads) StoreRowsKernel(const StoreRowsArgs args) {
  simt::GridWait();
  const uint32_t rows = CountOf(args.counts[0], args.set);
  for (uint32_t r = simt::BlockIndex(); r < rows; r += simt::GridSize()) {
    const size_t target = size_t{args.rows[r].hidden} * args.hidden;
    for (uint32_t i = simt::ThreadIndex(); i < args.hidden; i += simt::BlockSize()) {
      args.hidden_rows.Set(target + i, args.x[size_t{r} * args.hidden + i]);
    }
  }
}

// Each row read and written, as floats.
WorkCount RowWork(RowSet set, uint32_t hidden) {
  return {.part = PartOf(set), .row_bytes = 2.0 * hidden * sizeof(float)};
}

WorkCount RowWorkBf16(const RowSources& from) {
  const double hidden = from.hidden;
  const double number = from.source == RowSource::kEmbedding ? sizeof(Bf16) : sizeof(float);
  return {.part = PartOf(from.set),
          .row_bytes = hidden * (number + sizeof(float) + sizeof(Bf16)) +
                       StepsOf(from.hidden) * double{sizeof(float)}};
}

}  // namespace

absl::Status LaunchLoadRows(Runtime& runtime, const LoadRowsArgs& args) {
  const LaunchShape shape = {.blocks = 2 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.from.hidden, kMostThreads),
                             .work = RowWork(args.from.set, args.from.hidden)};
  return Launch(runtime, "load_rows", LoadRowsKernel, shape, args);
}

absl::Status LaunchLoadRows(Runtime& runtime, const LoadRowsBf16Args& args) {
  const LaunchShape shape = {.blocks = 2 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.from.hidden, kMostThreads),
                             .work = RowWorkBf16(args.from)};
  return Launch(runtime, "load_rows_bf16", LoadRowsBf16Kernel, shape, args);
}

absl::Status LaunchStoreRows(Runtime& runtime, const StoreRowsArgs& args) {
  const LaunchShape shape = {.blocks = 2 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.hidden, kMostThreads),
                             .work = RowWork(args.set, args.hidden)};
  return Launch(runtime, "store_rows", StoreRowsKernel, shape, args);
}

}  // namespace recurve::cuda
