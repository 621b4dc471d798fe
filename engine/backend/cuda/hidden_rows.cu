// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/hidden_rows.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kMostThreads = 128;

// Number `i` of what a row reads.
RECURVE_DEVICE float Source(const LoadRowsArgs& args, const Row& row, uint32_t i) {
  if (args.source == RowSource::kEmbedding) {
    const TableSizes& sizes = args.sizes;
    const TokenId token =
        args.tokens[size_t{row.slot} * sizes.max_positions + row.position % sizes.max_positions];
    return token < args.vocab ? args.embedding[size_t{token} * args.hidden + i] : 0.0F;
  }
  const bool second = args.source == RowSource::kBlock && args.has_stream != 0 && row.recursion > 1;
  const size_t at = size_t{row.hidden} * args.hidden + i;
  return second ? args.stream[at] : args.hidden_rows[at];
}

RECURVE_KERNEL(kMostThreads) LoadRowsKernel(const LoadRowsArgs args) {
  simt::GridWait();
  const bool is_first = simt::BlockIndex() == 0 && simt::ThreadIndex() == 0;
  if (args.source == RowSource::kBlock && is_first) {
    args.stamps.Set(kPartBlock, simt::GlobalTimer());
  }
  const uint32_t rows = CountOf(args.counts[0], args.set);
  for (uint32_t r = simt::BlockIndex(); r < rows; r += simt::GridSize()) {
    const Row& row = args.rows[r];
    for (uint32_t i = simt::ThreadIndex(); i < args.hidden; i += simt::BlockSize()) {
      args.x.Set(size_t{r} * args.hidden + i, Source(args, row, i));
    }
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

}  // namespace

absl::Status LaunchLoadRows(Runtime& runtime, const LoadRowsArgs& args) {
  const LaunchShape shape = {.blocks = 2 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.hidden, kMostThreads)};
  return Launch(runtime, "load_rows", LoadRowsKernel, shape, args);
}

absl::Status LaunchStoreRows(Runtime& runtime, const StoreRowsArgs& args) {
  const LaunchShape shape = {.blocks = 2 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.hidden, kMostThreads)};
  return Launch(runtime, "store_rows", StoreRowsKernel, shape, args);
}

}  // namespace recurve::cuda
