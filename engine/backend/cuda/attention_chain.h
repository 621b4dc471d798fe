// SPDX-License-Identifier: Apache-2.0
// The arithmetic of attention_block.h that needs no memory: what a warp makes of groups of entries.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_CHAIN_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_CHAIN_H_

#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_split.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/softmax_state.h"

namespace recurve::cuda {

inline constexpr uint32_t kGroupTiles = kGroupEntries / 8;  // of scores

// A lane's scores of a group, and then their weights: [j][2 half + i] is that of vector
// lane / 4 + 8 half and entry 8 j + 2 (lane % 4) + i.
using GroupScores = float[kGroupTiles][4];

// A lane's part of the vectors lane / 4 and lane / 4 + 8: running softmaxes over the groups of a
// warp, and the sums of values that go with them. Dimension 32 d + 4 n + c of an output is column n
// of tile [d][c]. All lanes of a warp call the methods. kSteps: of 16 dimensions of a head.
template <uint32_t kSteps>
struct Chain {
  // Four dimensions each of four of 16 entries: [d][i] are the dimensions 32 d + 4 (lane / 4) .. +
  // 3 of entry i / 2 * 8 + 2 (lane % 4) + i % 2.
  using Values = simt::Words2[kSteps / 2][4];

  SoftmaxState state[2];
  float out[kSteps / 2][4][4] = {};

  // Scores of a half become weights, and what the chain has so far is scaled to go with them.
  RECURVE_DEVICE void TakeScores(uint32_t half, GroupScores& p) {
    SoftmaxState group;
    RECURVE_UNROLL
    for (const float(&scores)[4] : p) {
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 2; ++i) {
        const float score = scores[half * 2 + i];
        if (score > group.largest) group.largest = score;
      }
    }
    group.largest = OfQuad(group.largest, false);
    if (state[half].largest > group.largest) group.largest = state[half].largest;
    RECURVE_UNROLL
    for (float(&scores)[4] : p) {
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 2; ++i) {
        float& score = scores[half * 2 + i];
        score = SoftmaxWeight(score, group.largest);
        group.sum += score;
      }
    }
    group.sum = OfQuad(group.sum, true);
    const float before = SoftmaxWeight(state[half].largest, group.largest);
    state[half] = {group.largest, Fma(state[half].sum, before, group.sum)};
    RECURVE_UNROLL
    for (float(&tiles)[4][4] : out) {
      RECURVE_UNROLL
      for (float(&tile)[4] : tiles) {
        tile[half * 2] *= before;
        tile[half * 2 + 1] *= before;
      }
    }
  }

  // Adds 16 entries' values, whose weights are those of two tiles.
  RECURVE_DEVICE void AddValues(const float (&low)[4], const float (&high)[4],
                                const Values& values) {
    const simt::Words4 weights = {{Pack(low[0], low[1]), Pack(low[2], low[3]),
                                   Pack(high[0], high[1]), Pack(high[2], high[3])}};
    RECURVE_UNROLL
    for (uint32_t d = 0; d < kSteps / 2; ++d) {
      RECURVE_UNROLL
      for (uint32_t c = 0; c < 4; ++c) {
        simt::Mma(out[d][c], weights,
                  {{Pick(values[d][0], c) | Pick(values[d][1], c) << 16,
                    Pick(values[d][2], c) | Pick(values[d][3], c) << 16}});
      }
    }
  }

 private:
  // Of the four lanes that share a vector.
  RECURVE_DEVICE static float OfQuad(float value, bool is_sum) {
    for (uint32_t step = 1; step < 4; step *= 2) {
      const float other = simt::ShuffleXor(value, step);
      value = is_sum ? value + other : (other > value ? other : value);
    }
    return value;
  }

  RECURVE_DEVICE static uint32_t Pack(float low, float high) {
    return FloatToBf16(low) | uint32_t{FloatToBf16(high)} << 16;
  }
  RECURVE_DEVICE static uint32_t Pick(const simt::Words2& words, uint32_t i) {
    return words.w[i / 2] >> (i % 2 * 16) & 0xFFFFU;
  }
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_CHAIN_H_
