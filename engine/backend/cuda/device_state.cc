// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device_state.h"

#include <algorithm>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_bf16.h"
#include "engine/backend/cuda/attention_f32.h"
#include "engine/backend/cuda/memory_taker.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/cuda/residual.h"
#include "engine/backend/cuda/sample.h"
#include "engine/backend/cuda/tensor_core.h"
#include "engine/backend/limits.h"
#include "engine/base/math.h"
#include "engine/base/status_macros.h"
#include "engine/model/rope.h"

namespace recurve::cuda {
namespace {

// What the tensor cores read. Zeros, which nothing overwrites, fill it up to whole steps.
void TakeOperands(MemoryTaker& taker, const ModelConfig& config, size_t rows, DeviceState& state) {
  const size_t queries = rows * config.num_heads * state.layout.stride;
  taker.TakeZeros<Bf16>("queries", queries, &state.q);
  taker.TakeZeros<Bf16>("attended values",
                        OperandElements(rows, config.num_heads * config.head_dim), &state.attended);
  taker.TakeZeros<Bf16>("gated activations", OperandElements(rows, config.intermediate_size),
                        &state.gated);
  taker.TakeZeros<Bf16>("inputs of products", OperandElements(rows, config.hidden_size),
                        &state.operand);
  taker.TakeZeros<float>("sums of squares", rows * SquaresOf(config.hidden_size), &state.squares);
}

// For the largest product of a layer.
void TakePlainRows(MemoryTaker& taker, const ModelConfig& config, size_t rows, DeviceState& state) {
  const uint32_t query_columns = config.num_heads * config.head_dim;
  const uint32_t inputs = std::max({query_columns, config.hidden_size, config.intermediate_size});
  const uint32_t half = config.head_dim / 2;
  const uint32_t qkv = query_columns + 2 * config.num_kv_heads * config.head_dim;
  const uint32_t tiles =
      std::max({TilesOf(qkv, {half}), TilesOf(config.hidden_size, {}),
                TilesOf(2 * config.intermediate_size, {config.intermediate_size})});
  taker.Take<Bf16>("plain inputs of products", rows * StepsOf(inputs) * kStepInputs,
                   &state.plain_x);
  taker.Take<float>("plain outputs of products", rows * tiles * kTileOutputs, &state.plain_y);
}

void TakeRows(MemoryTaker& taker, const ModelConfig& config, const BackendLimits& limits,
              DeviceState& state) {
  const size_t rows = MaxRows(limits);
  const size_t hidden_rows = HiddenRows(limits);
  const size_t hidden = config.hidden_size;
  const size_t query_columns = size_t{config.num_heads} * config.head_dim;
  taker.Take<float>("hidden rows", hidden_rows * hidden, &state.hidden_rows);
  const bool token_choice = config.router.type == RouterType::kTokenChoice;
  taker.Take<float>("streams between recursions", token_choice ? hidden_rows * hidden : 0,
                    &state.stream);
  taker.Take<float>("gates", hidden_rows, &state.gate);
  taker.Take<uint32_t>("chosen depths", hidden_rows, &state.depth);
  taker.Take<float>("router scores", hidden_rows, &state.score);
  taker.Take<float>("residual streams", rows * hidden, &state.x);
  if (state.precision == Precision::kBf16) {
    TakeOperands(taker, config, rows, state);
  } else {
    taker.Take<float>("queries", rows * query_columns, &state.q);
    taker.Take<float>("attended values", rows * query_columns, &state.attended);
    taker.Take<float>("gated activations", rows * config.intermediate_size, &state.gated);
  }
  taker.Take<float>("logits", size_t{limits.ends} * config.vocab_size, &state.logits);
}

void TakeSplit(MemoryTaker& taker, const Runtime& runtime, const ModelConfig& config,
               const BackendLimits& limits, DeviceState& state) {
  const uint32_t heads = config.num_heads;
  state.split = SplitSizesOf(runtime, state.layout, heads, MaxRows(limits), limits.max_positions);
  const size_t partials = state.split.Partials(heads);
  taker.Take<SoftmaxState>("attention over blocks: states", partials, &state.split_states);
  taker.Take<Floats4>("attention over blocks: outputs", partials * SplitPieces(config.head_dim),
                      &state.split_outputs);
  taker.TakeZeros<uint32_t>("attention over blocks: who came",
                            SplitItems(state.split, state.layout, heads), &state.split_came);
}

void TakeScratch(MemoryTaker& taker, const Runtime& runtime, const ModelConfig& config,
                 const BackendLimits& limits, DeviceState& state) {
  const size_t positions = limits.max_positions;
  if (state.precision == Precision::kF32) {
    const size_t attention = AttentionBlocks(runtime) * positions;
    taker.Take<float>("probabilities", attention, &state.probabilities);
    taker.Take<uint64_t>("places of entries", attention, &state.places);
  } else {
    TakeSplit(taker, runtime, config, limits, state);
  }
  const size_t sampled = size_t{SampleBlocks(runtime)} * config.vocab_size;
  taker.Take<float>("adjusted logits", sampled, &state.adjusted);
  taker.Take<uint32_t>("sampling weights", sampled, &state.weights);
  state.row_logprobs = 1 + std::min(limits.max_logprobs, config.vocab_size);
  taker.Take<TokenLogprob>("log probabilities", size_t{limits.ends} * state.row_logprobs,
                           &state.logprobs);
  const size_t evicted = EvictBlocks(runtime) * positions;
  taker.Take<uint32_t>("eviction: positions", evicted, &state.evict_positions);
  taker.Take<uint32_t>("eviction: who stays", evicted, &state.evict_stays);
  taker.Take<uint32_t>("eviction: holes", evicted, &state.evict_holes);
  taker.Take<uint32_t>("eviction: survivors", evicted, &state.evict_survivors);
  taker.Take<uint64_t>("eviction: scores", evicted, &state.evict_scores);
  taker.TakeZeros<uint64_t>("time stamps", kStepParts + 1, &state.stamps);
  taker.Take<float>("raw logits", size_t{kMostOutstanding} * limits.ends * config.vocab_size,
                    &state.raw_logits);
}

absl::Status FillAngles(Runtime& runtime, MemoryTaker& taker, const ModelConfig& config,
                        uint32_t positions, DeviceState& state) {
  const std::vector<double> frequencies = RotaryFrequencies(config);
  const size_t half = frequencies.size();
  std::vector<float> cos(positions * half);
  std::vector<float> sin(positions * half);
  for (uint32_t position = 0; position < positions; ++position) {
    for (size_t i = 0; i < half; ++i) {
      cos[position * half + i] = Cos(position * frequencies[i]);
      sin[position * half + i] = Sin(position * frequencies[i]);
    }
  }
  taker.Take<float>("cosines", cos.size(), &state.cos);
  taker.Take<float>("sines", sin.size(), &state.sin);
  taker.Take<double>("rotary frequencies", half, &state.frequencies);
  RETURN_IF_ERROR(taker.status());
  RETURN_IF_ERROR(runtime.Upload(state.cos, 0, cos.data(), cos.size() * sizeof(float)));
  RETURN_IF_ERROR(runtime.Upload(state.sin, 0, sin.data(), sin.size() * sizeof(float)));
  return runtime.Upload(state.frequencies, 0, frequencies.data(), half * sizeof(double));
}

}  // namespace

uint64_t PageBytes(const ModelConfig& config, Precision precision) {
  const KvLayout layout = LayoutOf(config, precision);
  return layout.page_elements * ElementSize(precision) +
         uint64_t{layout.page_capacity} * (sizeof(uint32_t) + sizeof(float));
}

absl::Status AllocatePages(Runtime& runtime, uint32_t pages, DeviceState& state) {
  const KvLayout& layout = state.layout;
  MemoryTaker taker(runtime);
  if (state.precision == Precision::kBf16) {
    // Zeros, which nothing overwrites, fill keys and values up to their stride.
    taker.TakeZeros<Bf16>("cache pages", pages * layout.page_elements, &state.pages);
  } else {
    taker.Take<float>("cache pages", pages * layout.page_elements, &state.pages);
  }
  taker.Take<uint32_t>("positions of entries", size_t{pages} * layout.page_capacity,
                       &state.entry_positions);
  taker.Take<float>("router scores of entries", size_t{pages} * layout.page_capacity,
                    &state.entry_scores);
  return taker.status();
}

absl::StatusOr<DeviceState> AllocateDeviceState(Runtime& runtime, const ModelConfig& config,
                                                const BackendLimits& limits, Precision precision,
                                                bool has_library) {
  DeviceState state;
  state.precision = precision;
  state.layout = LayoutOf(config, precision);
  state.result_layout = LayoutOfResult(limits);
  MemoryTaker taker(runtime);
  TakeRows(taker, config, limits, state);
  TakeScratch(taker, runtime, config, limits, state);
  if (has_library) TakePlainRows(taker, config, MaxRows(limits), state);
  RETURN_IF_ERROR(FillAngles(runtime, taker, config, limits.max_positions, state));
  state.plan_words = static_cast<uint32_t>(MostPlanWords(limits));
  taker.Take<uint32_t>("plan", state.plan_words, &state.plan);
  RETURN_IF_ERROR(taker.status());
  ASSIGN_OR_RETURN(state.plans,
                   runtime.AllocateMapped(
                       "plans", kMostOutstanding * sizeof(uint32_t) * size_t{state.plan_words}));
  ASSIGN_OR_RETURN(state.results,
                   runtime.AllocateMapped("results", kMostOutstanding * sizeof(uint32_t) *
                                                         size_t{state.result_layout.words}));
  ASSIGN_OR_RETURN(state.step, AllocateStepMemory(runtime, SizesOf(config, limits)));
  return state;
}

}  // namespace recurve::cuda
