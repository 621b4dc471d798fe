// SPDX-License-Identifier: Apache-2.0
// What a block of attention_bf16.h does for its query vectors.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BLOCK_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BLOCK_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_bf16.h"
#include "engine/backend/cuda/query_vectors.h"
#include "engine/backend/cuda/softmax_state.h"
#include "engine/backend/cuda/tensor_core.h"

namespace recurve::cuda {

inline constexpr uint32_t kAttentionWarps = 4;
inline constexpr uint32_t kGroupEntries = 32;               // that a warp takes at once
inline constexpr uint32_t kGroupTiles = kGroupEntries / 8;  // of scores
inline constexpr uint32_t kChunkEntries = 256;

// A lane's part of the vectors lane / 4 and lane / 4 + 8: the chains of a warp, and what they made.
// Dimension 32 d + 4 n + c of an output is column n of tile [d][c].
template <uint32_t kSteps>
struct Chain {
  SoftmaxState state[2];
  float out[kSteps / 2][4][4] = {};
};

// A block at work. kSteps: of 16 dimensions of a head.
template <uint32_t kSteps>
class BlockAttention {
 public:
  static constexpr uint32_t kLaneOutputs = kSteps * 8;

  RECURVE_DEVICE BlockAttention(const AttentionBf16Args& args, simt::SharedMemory& shared)
      : args_(args),
        layout_(args.layout),
        warp_(simt::ThreadIndex() / simt::kWarp),
        lane_(simt::ThreadIndex() % simt::kWarp),
        states_(shared.Array<SoftmaxState>(kAttentionWarps * 2 * simt::kWarp)),
        outputs_(shared.Array<float>(kAttentionWarps * kLaneOutputs * simt::kWarp)),
        places_(shared.Array<uint32_t>(kAttentionWarps * simt::kWarp) + warp_ * simt::kWarp) {}

  static size_t SharedBytes() {
    return simt::SharedBytes<SoftmaxState>(kAttentionWarps * 2 * simt::kWarp) +
           simt::SharedBytes<float>(size_t{kAttentionWarps} * kLaneOutputs * simt::kWarp) +
           simt::SharedBytes<uint32_t>(kAttentionWarps * simt::kWarp);
  }

  RECURVE_DEVICE void Run(const VectorBlock& block) {
    Begin(block);
    const uint32_t chunks = (visible_ + kChunkEntries - 1) / kChunkEntries;
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      Chain<kSteps> chain;
      ForEachGroup(chunk, [&](uint32_t first) { AddGroup(first, chain); });
      MergeChunk(chunk, chain);
    }
    simt::SyncBlock();
    SoftmaxState all[2];
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) all[half] = StateOfAll(half);
    Store();
    if (is_judged_) {
      for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
        ForEachGroup(chunk, [&](uint32_t first) { AddMass(first, all); });
      }
    }
    simt::SyncBlock();  // shared memory is another item's next
  }

 private:
  RECURVE_DEVICE uint32_t VectorOf(uint32_t half) const { return lane_ / 4 + half * 8; }
  RECURVE_DEVICE bool Exists(uint32_t half) const {
    return VectorOf(half) < block_.rows * block_.heads;
  }
  RECURVE_DEVICE uint32_t RowOf(uint32_t half) const {
    return block_.first_row + VectorOf(half) / block_.heads;
  }
  RECURVE_DEVICE uint32_t HeadOf(uint32_t half) const {
    return block_.first_head + VectorOf(half) % block_.heads;
  }

  RECURVE_DEVICE uint32_t VisibleTo(const Row& row) const {
    // More only by a wrong plan, which the host finds out later.
    return row.visible < args_.sizes.max_positions ? row.visible : args_.sizes.max_positions;
  }

  RECURVE_DEVICE void Begin(const VectorBlock& block) {
    block_ = block;
    // The row that sees all that any of them sees. It is not always the last one: in EXIT rows
    // whose logits are wanted come first.
    row_ = args_.rows[block.first_row];
    for (uint32_t i = 1; i < block.rows; ++i) {
      const Row& row = args_.rows[block.first_row + i];
      if (row.visible > row_.visible) row_ = row;
    }
    visible_ = VisibleTo(row_);
    has_overlay_ = args_.sizes.overlay != 0 && row_.recursion > 1;
    group_ = has_overlay_ ? 1 : row_.group;
    values_ = layout_.kv_heads * layout_.entries[group_] * (layout_.stride / kStepInputs);
    is_judged_ = args_.slots.records[row_.slot].eviction == EvictionPolicy::kAttention &&
                 row_.entry != kNoEntry;
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      seen_[half] = Exists(half) ? VisibleTo(args_.rows[RowOf(half)]) : 0;
      LoadQuery(half);
    }
  }

  RECURVE_DEVICE void LoadQuery(uint32_t half) {
    const size_t first =
        (size_t{RowOf(half)} * args_.heads + HeadOf(half)) * layout_.stride / 4 + lane_ % 4;
    RECURVE_UNROLL
    for (uint32_t step = 0; step < kSteps; ++step) {
      const bool is_there = Exists(half) && step * kStepInputs < layout_.stride;
      const simt::Words2 words = is_there ? args_.q[first + step * 4] : simt::Words2{};
      query_[step].w[half] = words.w[0];
      query_[step].w[2 + half] = words.w[1];
    }
  }

  // Calls body(first entry) for the warp's groups of a chunk, with their places found.
  template <typename Body>
  RECURVE_DEVICE void ForEachGroup(uint32_t chunk, Body body) {
    RECURVE_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t first = chunk * kChunkEntries + (i * kAttentionWarps + warp_) * kGroupEntries;
      if (first >= visible_) return;
      const uint32_t entry = first + lane_;
      places_[lane_] = entry < visible_ ? FindKey(entry) : 0;
      simt::SyncWarp();
      body(first);
      simt::SyncWarp();
    }
  }

  // Keys and values lie a multiple of 32 bytes from the pool's beginning, which a word can count.
  RECURVE_DEVICE uint32_t KeyOf(uint32_t group, uint32_t entry) const {
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row_.slot, group, entry);
    const size_t at =
        layout_.Offset(place.page, group, args_.layer, 0, block_.kv_head, place.entry);
    return static_cast<uint32_t>(at / kStepInputs);
  }
  // Four elements from element 4 i on of a key or value.
  RECURVE_DEVICE simt::Words2 ElementsOf(uint32_t place, uint32_t i) const {
    return args_.pages[size_t{place} * (kStepInputs / 4) + i];
  }

  // With an overlay recursion 1's entries are seen, of which entries of the row's own recursion
  // replace some: everybody runs recursion 1, so its entry t is that of position t.
  RECURVE_DEVICE uint32_t FindKey(uint32_t entry) const {
    uint32_t key = KeyOf(group_, entry);
    if (!has_overlay_) return key;
    for (uint32_t own = 0; own <= row_.entry; ++own) {
      const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row_.slot, row_.group, own);
      const uint32_t position =
          args_.entry_positions[size_t{place.page} * layout_.page_capacity + place.entry];
      if (position == entry) key = KeyOf(row_.group, own);
    }
    return key;
  }

  // scores[j][2 half + i]: of the vector `half` and entry first + 8 j + 2 (lane % 4) + i; that of
  // an entry that the vector does not see is -infinity.
  RECURVE_DEVICE void Score(uint32_t first, float (&scores)[kGroupTiles][4]) const {
    RECURVE_UNROLL
    for (uint32_t j = 0; j < kGroupTiles; ++j) {
      const uint32_t in_group = j * 8 + lane_ / 4;
      const bool is_there = first + in_group < visible_;
      const uint32_t key = places_[in_group];
      RECURVE_UNROLL
      for (uint32_t step = 0; step < kSteps; ++step) {
        if (step * kStepInputs >= layout_.stride) break;
        simt::Mma(scores[j], query_[step],
                  is_there ? ElementsOf(key, step * 4 + lane_ % 4) : simt::Words2{});
      }
    }
    const float scale = ScoreScale(layout_.head_dim);
    RECURVE_UNROLL
    for (uint32_t j = 0; j < kGroupTiles; ++j) {
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t entry = first + j * 8 + lane_ % 4 * 2 + i % 2;
        const bool is_seen = entry < seen_[i / 2];
        scores[j][i] = is_seen ? scores[j][i] * scale : -math_internal::kInfinity;
      }
    }
  }

  RECURVE_DEVICE static float OfQuad(float value, bool is_sum) {
    for (uint32_t step = 1; step < 4; step *= 2) {
      const float other = simt::ShuffleXor(value, step);
      value = is_sum ? value + other : (other > value ? other : value);
    }
    return value;
  }

  RECURVE_DEVICE void AddGroup(uint32_t first, Chain<kSteps>& chain) const {
    float p[kGroupTiles][4] = {};
    Score(first, p);
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
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
      if (chain.state[half].largest > group.largest) group.largest = chain.state[half].largest;
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
      const float before = SoftmaxWeight(chain.state[half].largest, group.largest);
      chain.state[half] = {group.largest, Fma(chain.state[half].sum, before, group.sum)};
      RECURVE_UNROLL
      for (float(&tiles)[4][4] : chain.out) {
        RECURVE_UNROLL
        for (float(&tile)[4] : tiles) {
          tile[half * 2] *= before;
          tile[half * 2 + 1] *= before;
        }
      }
    }
    AddValues(first, p, chain);
  }

  RECURVE_DEVICE static uint32_t Pack(float low, float high) {
    return FloatToBf16(low) | uint32_t{FloatToBf16(high)} << 16;
  }

  // Adds the values of a group, 16 entries at once. A lane loads four dimensions of four entries,
  // which are four columns of b for four tiles of outputs.
  RECURVE_DEVICE void AddValues(uint32_t first, const float (&p)[kGroupTiles][4],
                                Chain<kSteps>& chain) const {
    RECURVE_UNROLL
    for (uint32_t t = 0; t < kGroupTiles / 2; ++t) {
      const float(&low)[4] = p[2 * t];
      const float(&high)[4] = p[2 * t + 1];
      const simt::Words4 weights = {{Pack(low[0], low[1]), Pack(low[2], low[3]),
                                     Pack(high[0], high[1]), Pack(high[2], high[3])}};
      RECURVE_UNROLL
      for (uint32_t d = 0; d < kSteps / 2; ++d) {
        simt::Words2 values[4];
        RECURVE_UNROLL
        for (uint32_t i = 0; i < 4; ++i) {
          const uint32_t in_group = t * 16 + i / 2 * 8 + lane_ % 4 * 2 + i % 2;
          const uint32_t dimension = d * 32 + lane_ / 4 * 4;
          const bool is_there = first + in_group < visible_ && dimension < layout_.stride;
          values[i] =
              is_there ? ElementsOf(places_[in_group] + values_, dimension / 4) : simt::Words2{};
        }
        RECURVE_UNROLL
        for (uint32_t c = 0; c < 4; ++c) {
          simt::Mma(chain.out[d][c], weights,
                    {{Pick(values[0], c) | Pick(values[1], c) << 16,
                      Pick(values[2], c) | Pick(values[3], c) << 16}});
        }
      }
    }
  }

  RECURVE_DEVICE static uint32_t Pick(const simt::Words2& words, uint32_t i) {
    return words.w[i / 2] >> (i % 2 * 16) & 0xFFFFU;
  }

  // Shared memory holds of each warp what its chunks made so far, as the lanes hold it.
  RECURVE_DEVICE SoftmaxState& StateOf(uint32_t warp, uint32_t half) const {
    return states_[(warp * 2 + half) * simt::kWarp + lane_];
  }
  RECURVE_DEVICE float& OutputOf(uint32_t warp, uint32_t d, uint32_t c, uint32_t i) const {
    return outputs_[(warp * kLaneOutputs + (d * 4 + c) * 4 + i) * simt::kWarp + lane_];
  }

  RECURVE_DEVICE void MergeChunk(uint32_t chunk, const Chain<kSteps>& chain) const {
    SoftmaxFactors factors[2] = {{0.0F, 1.0F}, {0.0F, 1.0F}};
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      SoftmaxState& state = StateOf(warp_, half);
      if (chunk == 0) {
        state = chain.state[half];
      } else {
        factors[half] = Merge(chain.state[half], &state);
      }
    }
    RECURVE_UNROLL
    for (uint32_t d = 0; d < kSteps / 2; ++d) {
      RECURVE_UNROLL
      for (uint32_t c = 0; c < 4; ++c) {
        RECURVE_UNROLL
        for (uint32_t i = 0; i < 4; ++i) {
          float& sum = OutputOf(warp_, d, c, i);
          const float more = chain.out[d][c][i];
          const SoftmaxFactors& by = factors[i / 2];
          sum = chunk == 0 ? more : Fma(sum, by.before, more * by.more);
        }
      }
    }
  }

  RECURVE_DEVICE SoftmaxState StateOfAll(uint32_t half) const {
    SoftmaxState state = StateOf(0, half);
    for (uint32_t warp = 1; warp < kAttentionWarps; ++warp) Merge(StateOf(warp, half), &state);
    return state;
  }

  // Merges what the warps made, each warp some dimensions of it.
  RECURVE_DEVICE void Store() const {
    for (uint32_t d = warp_; d < kSteps / 2; d += kAttentionWarps) {
      RECURVE_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        float out[4][2];  // [c][i]
        SoftmaxState state = StateOf(0, half);
        RECURVE_UNROLL
        for (uint32_t j = 0; j < 8; ++j)
          out[j / 2][j % 2] = OutputOf(0, d, j / 2, half * 2 + j % 2);
        for (uint32_t warp = 1; warp < kAttentionWarps; ++warp) {
          const SoftmaxFactors by = Merge(StateOf(warp, half), &state);
          RECURVE_UNROLL
          for (uint32_t j = 0; j < 8; ++j) {
            float& sum = out[j / 2][j % 2];
            sum = Fma(sum, by.before, OutputOf(warp, d, j / 2, half * 2 + j % 2) * by.more);
          }
        }
        if (!Exists(half)) continue;
        const float inverse = 1.0F / state.sum;
        RECURVE_UNROLL
        for (uint32_t j = 0; j < 8; ++j) {
          const uint32_t dimension = d * 32 + (lane_ % 4 * 2 + j % 2) * 4 + j / 2;
          if (dimension >= layout_.head_dim) continue;
          const uint32_t column = HeadOf(half) * layout_.head_dim + dimension;
          args_.y.Set(OperandIndex(RowOf(half), column, StepsOf(args_.heads * layout_.head_dim)),
                      FloatToBf16(out[j / 2][j % 2] * inverse));
        }
      }
    }
  }

  // Shared entries are judged by the queries of the recursion that appends them.
  RECURVE_DEVICE void AddMass(uint32_t first, const SoftmaxState (&all)[2]) const {
    float p[kGroupTiles][4] = {};
    Score(first, p);
    const size_t masses =
        (size_t{row_.slot} * args_.sizes.groups + row_.group) * args_.sizes.max_positions;
    RECURVE_UNROLL
    for (uint32_t j = 0; j < kGroupTiles; ++j) {
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t entry = first + j * 8 + lane_ % 4 * 2 + i % 2;
        const uint32_t half = i / 2;
        if (entry >= seen_[half]) continue;
        const float weight = SoftmaxWeight(p[j][i], all[half].largest);
        args_.mass.Add(masses + entry, MassShare(weight, 1.0F / all[half].sum));
      }
    }
  }

  const AttentionBf16Args& args_;
  const KvLayout& layout_;
  const uint32_t warp_, lane_;
  const simt::SharedArray<SoftmaxState> states_;  // [warps][2][lanes]
  const simt::SharedArray<float> outputs_;        // [warps][kLaneOutputs][lanes]
  const simt::SharedArray<uint32_t> places_;      // [kGroupEntries]: of the warp's group
  VectorBlock block_;
  Row row_ = {};          // of the block's rows that which sees most
  uint32_t visible_ = 0;  // entries that some vector sees
  uint32_t seen_[2] = {};
  bool has_overlay_ = false;
  bool is_judged_ = false;
  uint32_t group_ = 0;   // of the entries
  uint32_t values_ = 0;  // a value lies so far behind its key
  simt::Words4 query_[kSteps];
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BLOCK_H_
