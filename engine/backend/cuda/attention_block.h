// SPDX-License-Identifier: Apache-2.0
// What a block of attention_bf16.h does for its query vectors.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BLOCK_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BLOCK_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_bf16.h"
#include "engine/backend/cuda/attention_chain.h"
#include "engine/backend/cuda/attention_split.h"
#include "engine/backend/cuda/attention_sums.h"
#include "engine/backend/cuda/block.h"
#include "engine/backend/cuda/query_vectors.h"
#include "engine/backend/cuda/softmax_state.h"
#include "engine/backend/cuda/tensor_core.h"

namespace recurve::cuda {

// A block at work. kSteps: of 16 dimensions of a head.
template <uint32_t kSteps>
class BlockAttention {
 public:
  // Of large heads fewer keys and values are loaded at once, or registers would not do.
  static constexpr uint32_t kKeyTiles = kSteps <= 4 ? kGroupTiles : kGroupTiles / 2;
  static constexpr uint32_t kValueSteps = kSteps <= 4 ? kGroupTiles / 2 : 1;

  RECURVE_DEVICE BlockAttention(const AttentionBf16Args& args, simt::SharedMemory& shared)
      : args_(args),
        layout_(args.layout),
        warp_(simt::ThreadIndex() / simt::kWarp),
        lane_(simt::ThreadIndex() % simt::kWarp),
        scale_(ScoreScale(args.layout.head_dim)),
        sums_(args, shared),
        places_(shared.Array<uint32_t>(kAttentionWarps * simt::kWarp) + warp_ * simt::kWarp),
        is_last_(shared.Array<uint32_t>(1)) {}

  static constexpr size_t SharedBytes() {
    return AttentionSums<kSteps>::SharedBytes() +
           simt::SharedBytes<uint32_t>(kAttentionWarps * simt::kWarp) +
           simt::SharedBytes<uint32_t>(1);
  }

  // `item`: the block's number among those of the step.
  RECURVE_DEVICE void Run(const VectorBlock& block, uint32_t item, const ItemShare& share) {
    Begin(block);
    const uint32_t chunks = (visible_ + kChunkEntries - 1) / kChunkEntries;
    const ChunkRange range = ChunksOf(share, chunks);
    if (range.begin >= chunks) return;
    const bool is_split = range.blocks > 1;
    PassEntries(range.begin, range.end, is_split ? Use::kLeave : Use::kMerge);
    if (is_split) {
      if (!IsLastBlock(args_.split.came, item, range.blocks, is_last_)) return;
      sums_.MergeLeft();
    }
    simt::SyncBlock();
    sums_.Store();
    if (is_judged_) {
      RECURVE_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        if (half < block_.Halves()) all_[half] = sums_.StateOfAll(half);
      }
      PassEntries(0, chunks, Use::kJudge);
    }
    simt::SyncBlock();  // shared memory is another item's next
  }

 private:
  // What becomes of entries: sums in shared memory, or in that of the device; or they are judged by
  // the sums.
  enum class Use : uint8_t { kMerge, kLeave, kJudge };

  RECURVE_DEVICE uint32_t VectorOf(uint32_t half) const { return lane_ / 4 + half * 8; }
  RECURVE_DEVICE bool Exists(uint32_t half) const { return block_.Has(VectorOf(half)); }

  RECURVE_DEVICE uint32_t VisibleTo(const Row& row) const {
    // None or more than there are only by a wrong plan, which the host finds out later.
    const uint32_t visible =
        row.visible < args_.sizes.max_positions ? row.visible : args_.sizes.max_positions;
    return visible > 0 ? visible : 1;
  }

  RECURVE_DEVICE void Begin(const VectorBlock& block) {
    block_ = block;
    // The row that sees all that any of them sees. It is not always the last one: in EXIT rows
    // whose logits are wanted come first.
    row_ = args_.rows[block.first_row];
    RECURVE_ROLLED
    for (uint32_t i = 1; i < block.rows; ++i) {
      const Row row = args_.rows[block.first_row + i];
      if (row.visible > row_.visible) row_ = row;
    }
    visible_ = VisibleTo(row_);
    sums_.Begin(block, visible_);
    has_overlay_ = args_.sizes.overlay != 0 && row_.recursion > 1;
    group_ = has_overlay_ ? 1 : row_.group;
    values_ = layout_.kv_heads * args_.sizes.page_entries[group_] * (layout_.stride / kStepInputs);
    is_judged_ = args_.slots.records[row_.slot].eviction == EvictionPolicy::kAttention &&
                 row_.entry != kNoEntry;
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      seen_[half] = Exists(half) ? VisibleTo(args_.rows[block_.RowOf(VectorOf(half))]) : 0;
      LoadQuery(half);
    }
  }

  RECURVE_DEVICE void LoadQuery(uint32_t half) {
    const size_t vector =
        size_t{block_.RowOf(VectorOf(half))} * args_.heads + block_.HeadOf(VectorOf(half));
    const size_t first = vector * layout_.stride / 4 + lane_ % 4;
    RECURVE_UNROLL
    for (uint32_t step = 0; step < kSteps; ++step) {
      simt::Words2 words = {};
      if (Exists(half) && step * kStepInputs < layout_.stride) words = args_.q[first + step * 4];
      query_[step].w[half] = words.w[0];
      query_[step].w[2 + half] = words.w[1];
    }
  }

  // Takes the warp's groups of the chunks [begin, end) one after the other. Looks up a group's
  // places while it takes the one before.
  RECURVE_DEVICE void PassEntries(uint32_t begin, uint32_t end, Use use) {
    const uint32_t of_warp = GroupsOfWarp(visible_, warp_);
    const uint32_t first_group = begin * kChunkGroups;
    const uint32_t end_group = end * kChunkGroups < of_warp ? end * kChunkGroups : of_warp;
    Chain<kSteps> chain;
    uint32_t next_place = 0;
    RECURVE_ROLLED
    for (uint32_t i = first_group; i <= end_group; ++i) {
      const uint32_t place = next_place;
      if (i < end_group) next_place = FindKey(FirstOfGroup(i) + lane_);
      if (i == first_group) continue;
      places_[lane_] = place;
      simt::SyncWarp();
      const uint32_t first = FirstOfGroup(i - 1);
      if (use == Use::kJudge) {
        AddMass(first);
      } else {
        AddGroup(first, chain);
        if (i % kChunkGroups == 0 || i == end_group) {
          EndChunk((i - 1) / kChunkGroups, chain, use);
          chain = {};
        }
      }
      simt::SyncWarp();
    }
  }
  RECURVE_DEVICE void EndChunk(uint32_t chunk, const Chain<kSteps>& chain, Use use) const {
    if (use == Use::kLeave) {
      sums_.LeaveChunk(chunk, chain);
    } else {
      sums_.MergeChunk(chunk, chain);
    }
  }
  RECURVE_DEVICE uint32_t FirstOfGroup(uint32_t i) const {
    return (i * kAttentionWarps + warp_) * kGroupEntries;
  }

  // Keys and values lie a multiple of 32 bytes from the pool's beginning, which a word can count.
  RECURVE_DEVICE uint32_t KeyOf(uint32_t group, uint32_t entry) const {
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row_.slot, group, entry);
    const size_t at = layout_.Offset(place.page, args_.sizes.page_entries[group], args_.layer, 0,
                                     block_.kv_head, place.entry);
    return static_cast<uint32_t>(at / kStepInputs);
  }

  // The key of an entry; of the last one for those behind it, whose scores and weights count for
  // nothing, so that loading needs no branch. With an overlay recursion 1's entries are seen, of
  // which entries of the row's own recursion replace some: everybody runs recursion 1, so its entry
  // t is that of position t.
  RECURVE_DEVICE uint32_t FindKey(uint32_t wanted) const {
    const uint32_t entry = wanted < visible_ ? wanted : visible_ - 1;
    uint32_t key = KeyOf(group_, entry);
    if (!has_overlay_) return key;
    RECURVE_ROLLED
    for (uint32_t own = 0; own <= row_.entry; ++own) {
      const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row_.slot, row_.group, own);
      const uint32_t position =
          args_.entry_positions[size_t{place.page} * layout_.page_capacity + place.entry];
      if (position == entry) key = KeyOf(row_.group, own);
    }
    return key;
  }

  // Four dimensions from `dimension` on of a key or value.
  RECURVE_DEVICE simt::Words2 ElementsOf(uint32_t place, uint32_t dimension) const {
    simt::Words2 words = {};
    if (dimension < layout_.stride) {
      words = args_.pages[size_t{place} * (kStepInputs / 4) + dimension / 4];
    }
    return words;
  }

  // The score of an entry that the vector does not see is -infinity.
  RECURVE_DEVICE void Score(uint32_t first, GroupScores& scores) const {
    RECURVE_UNROLL
    for (uint32_t j = 0; j < kGroupTiles; j += kKeyTiles) {
      simt::Words2 keys[kKeyTiles][kSteps];
      RECURVE_UNROLL
      for (uint32_t t = 0; t < kKeyTiles; ++t) {
        const uint32_t key = places_[(j + t) * 8 + lane_ / 4];
        RECURVE_UNROLL
        for (uint32_t step = 0; step < kSteps; ++step) {
          keys[t][step] = ElementsOf(key, step * kStepInputs + lane_ % 4 * 4);
        }
      }
      RECURVE_UNROLL
      for (uint32_t step = 0; step < kSteps; ++step) {
        RECURVE_UNROLL
        for (uint32_t t = 0; t < kKeyTiles; ++t) {
          simt::Mma(scores[j + t], query_[step], keys[t][step]);
        }
      }
    }
    RECURVE_UNROLL
    for (uint32_t j = 0; j < kGroupTiles; ++j) {
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t entry = first + j * 8 + lane_ % 4 * 2 + i % 2;
        const bool is_seen = entry < seen_[i / 2];
        scores[j][i] = is_seen ? scores[j][i] * scale_ : -math_internal::kInfinity;
      }
    }
  }

  RECURVE_DEVICE void AddGroup(uint32_t first, Chain<kSteps>& chain) const {
    typename Chain<kSteps>::Values values[kValueSteps];
    if (kValueSteps > 1) {
      RECURVE_UNROLL
      for (uint32_t t = 0; t < kValueSteps; ++t) LoadValues(t, values[t]);
    }
    GroupScores p = {};
    Score(first, p);
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      if (half < block_.Halves()) {
        chain.TakeScores(half, p);
      } else {
        RECURVE_UNROLL
        for (float(&scores)[4] : p) scores[half * 2] = scores[half * 2 + 1] = 0.0F;
      }
    }
    RECURVE_UNROLL
    for (uint32_t t = 0; t < kGroupTiles / 2; ++t) {
      if (kValueSteps == 1) LoadValues(t, values[0]);
      chain.AddValues(p[2 * t], p[2 * t + 1], values[t % kValueSteps]);
    }
  }

  // Of the 16 entries from 16 t on of the group.
  RECURVE_DEVICE void LoadValues(uint32_t t, Chain<kSteps>::Values& values) const {
    RECURVE_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t value = places_[t * 16 + i / 2 * 8 + lane_ % 4 * 2 + i % 2] + values_;
      RECURVE_UNROLL
      for (uint32_t d = 0; d < kSteps / 2; ++d) {
        values[d][i] = ElementsOf(value, d * 32 + lane_ / 4 * 4);
      }
    }
  }

  // Shared entries are judged by the queries of the recursion that appends them.
  RECURVE_DEVICE void AddMass(uint32_t first) const {
    GroupScores p = {};
    Score(first, p);
    const size_t masses =
        (size_t{row_.slot} * args_.sizes.groups + row_.group) * args_.sizes.max_positions;
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      if (half >= block_.Halves()) break;
      const float inverse = 1.0F / all_[half].sum;
      RECURVE_UNROLL
      for (uint32_t j = 0; j < kGroupTiles; ++j) {
        RECURVE_UNROLL
        for (uint32_t i = 0; i < 2; ++i) {
          const uint32_t entry = first + j * 8 + lane_ % 4 * 2 + i;
          if (entry >= seen_[half]) continue;
          const float weight = SoftmaxWeight(p[j][half * 2 + i], all_[half].largest);
          args_.mass.Add(masses + entry, MassShare(weight, inverse));
        }
      }
    }
  }

  const AttentionBf16Args& args_;
  const KvLayout& layout_;
  const uint32_t warp_, lane_;
  const float scale_;
  AttentionSums<kSteps> sums_;
  const simt::SharedArray<uint32_t> places_;   // [kGroupEntries]: of the warp's group
  const simt::SharedArray<uint32_t> is_last_;  // [1]
  VectorBlock block_;
  Row row_ = {};          // of the block's rows that which sees most
  uint32_t visible_ = 0;  // entries that some vector sees
  uint32_t seen_[2] = {};
  SoftmaxState all_[2];  // of a lane's vectors over all entries, for judging
  bool has_overlay_ = false;
  bool is_judged_ = false;
  uint32_t group_ = 0;   // of the entries
  uint32_t values_ = 0;  // a value lies so far behind its key
  simt::Words4 query_[kSteps];
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ATTENTION_BLOCK_H_
