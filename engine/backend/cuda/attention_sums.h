// SPDX-License-Identifier: Apache-2.0
// What the warps of a block of attention_bf16.h have made of their entries, and how it is merged.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_SUMS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_SUMS_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_bf16.h"
#include "engine/backend/cuda/attention_chain.h"
#include "engine/backend/cuda/attention_split.h"
#include "engine/backend/cuda/query_vectors.h"
#include "engine/backend/cuda/softmax_state.h"
#include "engine/backend/cuda/tensor_core.h"

namespace recurve::cuda {

// Groups of `visible` entries, and those among them that a warp takes.
RECURVE_HOST_DEVICE inline uint32_t GroupsOf(uint32_t visible) {
  return (visible + kGroupEntries - 1) / kGroupEntries;
}
RECURVE_HOST_DEVICE inline uint32_t GroupsOfWarp(uint32_t visible, uint32_t warp) {
  return (GroupsOf(visible) + kAttentionWarps - 1 - warp) / kAttentionWarps;
}

// Shared memory holds of each warp what its chunks made so far, as the lanes hold it. kSteps: of 16
// dimensions of a head.
template <uint32_t kSteps>
class AttentionSums {
 public:
  RECURVE_DEVICE AttentionSums(const AttentionBf16Args& args, simt::SharedMemory& shared)
      : args_(args),
        warp_(simt::ThreadIndex() / simt::kWarp),
        lane_(simt::ThreadIndex() % simt::kWarp),
        states_(shared.Array<SoftmaxState>(kAttentionWarps * 2 * simt::kWarp)),
        outputs_(shared.Array<float>(kAttentionWarps * kLaneOutputs * simt::kWarp)) {}

  static constexpr size_t SharedBytes() {
    return simt::SharedBytes<SoftmaxState>(kAttentionWarps * 2 * simt::kWarp) +
           simt::SharedBytes<float>(size_t{kAttentionWarps} * kLaneOutputs * simt::kWarp);
  }

  // `visible`: entries that some vector sees.
  RECURVE_DEVICE void Begin(const VectorBlock& block, uint32_t visible) {
    block_ = block;
    visible_ = visible;
  }

  // Takes in what the warp has made of a chunk, one after the other.
  RECURVE_DEVICE void MergeChunk(uint32_t chunk, const Chain<kSteps>& chain) const {
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      if (half >= block_.Halves()) break;
      SoftmaxState& state = StateOf(warp_, half);
      if (chunk == 0) {
        state = chain.state[half];
        ForEachOutput(chain, half, [](float& sum, float more) { sum = more; });
      } else {
        const SoftmaxFactors by = Merge(chain.state[half], &state);
        ForEachOutput(chain, half,
                      [by](float& sum, float more) { sum = Fma(sum, by.before, more * by.more); });
      }
    }
  }

  // Leaves it in memory instead, for the block that merges.
  RECURVE_DEVICE void LeaveChunk(uint32_t chunk, const Chain<kSteps>& chain) const {
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const uint32_t vector = lane_ / 4 + half * 8;
      if (!block_.Has(vector)) continue;
      const size_t partial = PartialOf(vector, chunk);
      if (lane_ % 4 == 0) args_.split.states.Set(partial, chain.state[half]);
      RECURVE_UNROLL
      for (uint32_t piece = 0; piece < kSteps; ++piece) {
        Floats4 outputs;
        RECURVE_UNROLL
        for (uint32_t i = 0; i < 4; ++i) {
          const uint32_t j = piece % 2 * 4 + i;
          outputs.v[i] = chain.out[piece / 2][j / 2][half * 2 + j % 2];
        }
        args_.split.outputs.Set(partial * kPieces + piece * 4 + lane_ % 4, outputs);
      }
    }
  }

  // Takes in what all blocks have left of the warp's chunks, as MergeChunk would have. Each lane
  // takes four outputs of a vector at once.
  RECURVE_DEVICE void MergeLeft() const {
    const uint32_t chunks = (GroupsOfWarp(visible_, warp_) + kChunkGroups - 1) / kChunkGroups;
    if (chunks == 0) return;
    RECURVE_ROLLED
    for (uint32_t unit = lane_; unit < block_.rows * block_.heads * kPieces; unit += simt::kWarp) {
      const uint32_t vector = unit / kPieces;
      const uint32_t place = unit % kPieces;
      SoftmaxState state;
      const Floats4 sums = MergedOutputs(vector, place, chunks, &state);
      const uint32_t half = vector / 8;
      const uint32_t lane = vector % 8 * 4 + place % 4;
      const uint32_t piece = place / 4;
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t j = piece % 2 * 4 + i;
        OutputOf(warp_, piece / 2, j / 2, half * 2 + j % 2, lane) = sums.v[i];
      }
      if (piece == 0) StateOf(warp_, half, lane) = state;
    }
  }

  // Of a lane's vector over all entries.
  RECURVE_DEVICE SoftmaxState StateOfAll(uint32_t half) const {
    SoftmaxState state = StateOf(0, half);
    RECURVE_ROLLED
    for (uint32_t warp = 1; warp < WarpsAtWork(); ++warp) Merge(StateOf(warp, half), &state);
    return state;
  }

  // Merges what the warps made, each warp some dimensions of some vectors.
  RECURVE_DEVICE void Store() const {
    constexpr uint32_t kParts = kSteps / 2;
    RECURVE_ROLLED
    for (uint32_t i = warp_; i < block_.Halves() * kParts; i += kAttentionWarps) {
      const uint32_t half = i / kParts;
      const uint32_t d = i % kParts;
      float out[8];
      SoftmaxState state = StateOf(0, half);
      RECURVE_UNROLL
      for (uint32_t j = 0; j < 8; ++j) out[j] = OutputOf(0, d, j / 2, half * 2 + j % 2);
      RECURVE_ROLLED
      for (uint32_t warp = 1; warp < WarpsAtWork(); ++warp) {
        const SoftmaxFactors by = Merge(StateOf(warp, half), &state);
        RECURVE_UNROLL
        for (uint32_t j = 0; j < 8; ++j) {
          out[j] = Fma(out[j], by.before, OutputOf(warp, d, j / 2, half * 2 + j % 2) * by.more);
        }
      }
      const uint32_t vector = lane_ / 4 + half * 8;
      if (block_.Has(vector)) StoreOutputs(vector, d, out, 1.0F / state.sum);
    }
  }

 private:
  static constexpr uint32_t kLaneOutputs = kSteps * 8;
  static constexpr uint32_t kPieces = kSteps * 4;  // of four outputs of a vector
  static constexpr uint32_t kAtOnce = 4;           // chunks that are loaded

  RECURVE_DEVICE SoftmaxState& StateOf(uint32_t warp, uint32_t half, uint32_t lane) const {
    return states_[(warp * 2 + half) * simt::kWarp + lane];
  }
  RECURVE_DEVICE SoftmaxState& StateOf(uint32_t warp, uint32_t half) const {
    return StateOf(warp, half, lane_);
  }
  RECURVE_DEVICE float& OutputOf(uint32_t warp, uint32_t d, uint32_t c, uint32_t i,
                                 uint32_t lane) const {
    return outputs_[(warp * kLaneOutputs + (d * 4 + c) * 4 + i) * simt::kWarp + lane];
  }
  RECURVE_DEVICE float& OutputOf(uint32_t warp, uint32_t d, uint32_t c, uint32_t i) const {
    return OutputOf(warp, d, c, i, lane_);
  }

  template <typename Body>
  RECURVE_DEVICE void ForEachOutput(const Chain<kSteps>& chain, uint32_t half, Body body) const {
    RECURVE_UNROLL
    for (uint32_t d = 0; d < kSteps / 2; ++d) {
      RECURVE_UNROLL
      for (uint32_t j = 0; j < 8; ++j) {
        body(OutputOf(warp_, d, j / 2, half * 2 + j % 2), chain.out[d][j / 2][half * 2 + j % 2]);
      }
    }
  }

  // Where the warp leaves what it made of a chunk.
  RECURVE_DEVICE size_t PartialOf(uint32_t vector, uint32_t chunk) const {
    const size_t of_all = size_t{block_.RowOf(vector)} * args_.heads + block_.HeadOf(vector);
    return (of_all * args_.split.sizes.chunks + chunk) * kAttentionWarps + warp_;
  }

  RECURVE_DEVICE Floats4 MergedOutputs(uint32_t vector, uint32_t place, uint32_t chunks,
                                       SoftmaxState* state) const {
    const AttentionSplit& split = args_.split;
    const size_t first = PartialOf(vector, 0);
    *state = split.states[first];
    Floats4 sums = split.outputs[first * kPieces + place];
    RECURVE_ROLLED
    for (uint32_t base = 1; base < chunks; base += kAtOnce) {
      SoftmaxState states[kAtOnce];
      Floats4 outputs[kAtOnce];
      RECURVE_UNROLL
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        const uint32_t chunk = base + i < chunks ? base + i : chunks - 1;
        const size_t partial = first + size_t{chunk} * kAttentionWarps;
        states[i] = split.states[partial];
        outputs[i] = split.outputs[partial * kPieces + place];
      }
      RECURVE_UNROLL
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        if (base + i >= chunks) break;
        const SoftmaxFactors by = Merge(states[i], state);
        RECURVE_UNROLL
        for (uint32_t j = 0; j < 4; ++j) {
          sums.v[j] = Fma(sums.v[j], by.before, outputs[i].v[j] * by.more);
        }
      }
    }
    return sums;
  }

  // Those that had a group.
  RECURVE_DEVICE uint32_t WarpsAtWork() const {
    const uint32_t groups = GroupsOf(visible_);
    return groups < kAttentionWarps ? groups : kAttentionWarps;
  }

  RECURVE_DEVICE void StoreOutputs(uint32_t vector, uint32_t d, const float (&out)[8],
                                   float inverse) const {
    const uint32_t head_dim = args_.layout.head_dim;
    const uint32_t steps = StepsOf(args_.heads * head_dim);
    const uint32_t head = block_.HeadOf(vector) * head_dim;
    RECURVE_UNROLL
    for (uint32_t j = 0; j < 8; ++j) {
      const uint32_t dimension = d * 32 + (lane_ % 4 * 2 + j % 2) * 4 + j / 2;
      if (dimension >= head_dim) continue;
      args_.y.Set(OperandIndex(block_.RowOf(vector), head + dimension, steps),
                  FloatToBf16(out[j] * inverse));
    }
  }

  const AttentionBf16Args& args_;
  const uint32_t warp_, lane_;
  const simt::SharedArray<SoftmaxState> states_;  // [warps][2][lanes]
  const simt::SharedArray<float> outputs_;        // [warps][kLaneOutputs][lanes]
  VectorBlock block_;
  uint32_t visible_ = 0;
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_SUMS_H_
