// SPDX-License-Identifier: Apache-2.0
// What becomes of logits: sampled tokens and log probabilities, as engine/sampling says, bit for
// bit: the same functions of single values (sampling/arithmetic.h), and sums of integers, which do
// not depend on their order.
//
// A block takes a row with logits, and most of its time is what one multiprocessor takes to read
// 4 * vocab bytes from cache: once for the most likely token of a row that nothing changes, twice
// more to draw one, six times more for each of top-k and top-p, once for each of the most likely
// tokens that are told.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_SAMPLE_H_
#define RECURVE_ENGINE_BACKEND_CUDA_SAMPLE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

struct SampleArgs {
  TableSizes sizes;
  simt::In<ListCounts> counts;
  simt::In<Row> rows;  // of EXIT
  SlotTables<simt::In> slots;
  simt::In<float> logits;  // [ends][vocab]
  simt::Out<Verdict> verdicts;
  simt::Out<TokenLogprob> logprobs;  // [ends][row_logprobs]
  uint32_t row_logprobs = 0;
  // Of each block of the launch.
  simt::Out<float> adjusted;    // [blocks][vocab]: logits after penalties, biases and the mask
  simt::Out<uint32_t> weights;  // [blocks][vocab]
  simt::Out<uint64_t> stamps;
};

// Blocks of a launch: as many as have scratch.
uint32_t SampleBlocks(const Runtime& runtime);

absl::Status LaunchSample(Runtime& runtime, const SampleArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_SAMPLE_H_
