// SPDX-License-Identifier: Apache-2.0
// How much memory a model needs for so many streams, and how fast a device could serve them at
// best.
#ifndef RECURVE_ENGINE_BENCH_SIZE_H_
#define RECURVE_ENGINE_BENCH_SIZE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/precision.h"
#include "engine/model/config.h"

namespace recurve {

struct SizeQuestion {
  uint32_t streams = 1;     // at once
  uint32_t context = 0;     // tokens of each, prompt and generated
  size_t number_bytes = 2;  // of a weight
  Precision kv_precision = Precision::kBf16;
  uint64_t page_bytes = 0;      // as the backend has it (BackendFacts)
  std::vector<double> shares;   // [recursions]: part of the tokens that takes each
  double bytes_per_second = 0;  // of the device's memory; 0: unknown, and so are times
  double flops_per_second = 0;  // 0: not looked at
};

struct SizeAnswer {
  uint64_t parameters = 0;
  uint64_t weight_bytes = 0;
  uint64_t pages_per_stream = 0;  // if every token is active in every group, as admission counts
  uint64_t pages = 0;             // of all streams: what --kv_pages=auto takes, given the memory
  uint64_t kv_bytes = 0;          // of these
  // Of the pages that are expected to hold entries: by group, "entry", "1".., "exit".
  std::vector<std::pair<std::string, uint64_t>> expected_bytes_by_group;
  uint64_t expected_kv_bytes = 0;
  // Bounds at the full context; 0: unknown. A step takes no less than reading the weights of its
  // stages once and each row's entries, and no less than its products.
  double step_seconds = 0;
  double tokens_per_second = 0;         // of all streams
  double prompt_tokens_per_second = 0;  // by products alone
};

// Precondition: one share a recursion, the first of them 1, as of CheckBench.
SizeAnswer ComputeSize(const ModelConfig& config, const SizeQuestion& question);

// A run on a machine, as far as its speed-up depends on them.
struct RunShape {
  uint32_t streams = 1;
  uint32_t block_rows = 1;     // most rows in the block
  std::vector<double> shares;  // [recursions]: part of the tokens that takes each
  double context = 0;          // entries that a row sees where every token has one
  size_t number_bytes = 2;     // of a weight
  Precision kv_precision = Precision::kBf16;
  double bytes_per_second = 0, flops_per_second = 0;
};

// How many times as many tokens a second as the vanilla model of the same effective depth, with
// `block_rows` streams, any schedule can make: where each pass costs its weights and the rows'
// entries over the bandwidth, or its FLOPs if they take longer, and EXIT and ENTRY run for as many
// rows as is best. An engine is judged by the share of this that it realises.
double IdealRatio(const ModelConfig& config, const RunShape& run);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_SIZE_H_
