// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/library_product.h"

#include <algorithm>

#include "engine/backend/cuda/tensor_core.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kStepWords = kStepInputs / 4;  // a Words2 has four inputs

RECURVE_KERNEL(kThreads) PlainRowsKernel(const PlainRowsArgs args) {
  simt::GridWait();
  const uint32_t words = args.steps * kStepWords;  // of a row
  const uint32_t all = CountOf(args.counts[0], args.set) * words;
  for (uint32_t i = simt::BlockIndex() * simt::BlockSize() + simt::ThreadIndex(); i < all;
       i += simt::GridSize() * simt::BlockSize()) {
    const uint32_t word = i % words;
    args.plain.Set(i, args.x[OperandIndex(i / words, word * 4, args.steps) / 4]);
  }
}

}  // namespace

absl::Status LaunchPlainRows(Runtime& runtime, uint32_t rows, const PlainRowsArgs& args) {
  const uint32_t tasks = rows * args.steps * kStepWords;
  const LaunchShape shape = {
      .blocks = std::min((tasks + kThreads - 1) / kThreads, 8 * runtime.facts().multiprocessors),
      .threads = kThreads,
      .work = {.part = PartOf(args.set),
               .row_bytes = 2.0 * sizeof(simt::Words2) * args.steps * kStepWords}};
  return Launch(runtime, "plain_rows", PlainRowsKernel, shape, args);
}

}  // namespace recurve::cuda
