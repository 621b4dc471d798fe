// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/attention_f32.h"

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/block.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kMostThreads = 128;

// What one block works with.
class RowAttention {
 public:
  RECURVE_DEVICE RowAttention(const AttentionArgs& args, simt::SharedMemory& shared)
      : args_(args),
        layout_(args.layout),
        scratch_(shared.Array<float>(simt::BlockSize())),
        lanes_(shared.Array<float>(kLanes)),
        p_(args.probabilities.Part(FirstOfBlock(args), args.sizes.max_positions)),
        places_(args.places.Part(FirstOfBlock(args), args.sizes.max_positions)) {}

  RECURVE_DEVICE void Run(uint32_t index, const Row& row, uint32_t kv_head) {
    FindPlaces(row, kv_head);
    const uint32_t heads = args_.heads / layout_.kv_heads;
    for (uint32_t h = 0; h < heads; ++h) {
      const size_t first = (size_t{index} * args_.heads + kv_head * heads + h) * layout_.head_dim;
      RunHead(row, first);
    }
    simt::SyncBlock();  // the scratch is another row's next
  }

 private:
  RECURVE_DEVICE static size_t FirstOfBlock(const AttentionArgs& args) {
    return size_t{simt::BlockIndex()} * args.sizes.max_positions;
  }

  RECURVE_DEVICE uint64_t KeyOf(const Row& row, uint32_t group, uint32_t entry,
                                uint32_t kv_head) const {
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row.slot, group, entry);
    return layout_.Offset(place.page, args_.sizes.page_entries[group], args_.layer, 0, kv_head,
                          place.entry);
  }

  RECURVE_DEVICE bool HasOverlay(const Row& row) const {
    return args_.sizes.overlay != 0 && row.recursion > 1;
  }

  // Where the key of each entry lies that the row sees. With an overlay recursion 1's entries are
  // those, of which entries of the row's own recursion replace some: everybody runs recursion 1, so
  // its entry t is that of position t.
  RECURVE_DEVICE void FindPlaces(const Row& row, uint32_t kv_head) {
    const bool overlay = HasOverlay(row);
    const uint32_t group = overlay ? 1 : row.group;
    const uint32_t thread = simt::ThreadIndex();
    for (uint32_t t = thread; t < row.visible; t += simt::BlockSize()) {
      places_.Set(t, KeyOf(row, group, t, kv_head));
    }
    simt::SyncBlock();
    if (!overlay) return;
    for (uint32_t e = thread; e <= row.entry; e += simt::BlockSize()) {
      const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row.slot, row.group, e);
      const uint32_t position =
          args_.entry_positions[size_t{place.page} * layout_.page_capacity + place.entry];
      if (position < row.visible) places_.Set(position, KeyOf(row, row.group, e, kv_head));
    }
    simt::SyncBlock();
  }

  // Values lie this far behind their keys.
  RECURVE_DEVICE size_t ValueOffset(uint32_t group) const {
    return size_t{layout_.kv_heads} * args_.sizes.page_entries[group] * layout_.head_dim;
  }

  RECURVE_DEVICE void RunHead(const Row& row, size_t first) {
    const uint32_t head_dim = layout_.head_dim;
    const uint32_t thread = simt::ThreadIndex();
    const float scale = ScoreScale(head_dim);
    float largest = -math_internal::kInfinity;
    for (uint32_t t = thread; t < row.visible; t += simt::BlockSize()) {
      const size_t key = places_[t];
      const float score = PairSum(
          head_dim, [&](uint32_t d) { return args_.q[first + d]; },
          [&](uint32_t d) { return args_.pages[key + d]; });
      p_.Set(t, score * scale);
      if (score * scale > largest) largest = score * scale;
    }
    largest = BlockReduce(largest, scratch_, [](float a, float b) { return a > b ? a : b; });
    for (uint32_t t = thread; t < row.visible; t += simt::BlockSize()) {
      p_.Set(t, Exp(p_[t] - largest));
    }
    simt::SyncBlock();
    const float inverse = 1.0F / SumOfP(row.visible);
    AddMass(row, inverse);
    const size_t values = ValueOffset(HasOverlay(row) ? 1 : row.group);
    for (uint32_t d = thread; d < head_dim; d += simt::BlockSize()) {
      const float sum = PairSum(
          row.visible, [&](uint32_t t) { return p_[t]; },
          [&](uint32_t t) { return args_.pages[places_[t] + values + d]; });
      args_.y.Set(first + d, sum * inverse);
    }
    simt::SyncBlock();
  }

  // The lane sum of the probabilities.
  RECURVE_DEVICE float SumOfP(uint32_t entries) {
    const uint32_t thread = simt::ThreadIndex();
    if (thread < kLanes) {
      float lane = 0.0F;
      for (uint32_t t = thread; t < entries; t += kLanes) lane += p_[t];
      lanes_[thread] = lane;
    }
    simt::SyncBlock();
    float lanes[kLanes];
    for (uint32_t l = 0; l < kLanes; ++l) lanes[l] = lanes_[l];
    simt::SyncBlock();
    return AddLanes(lanes);
  }

  // Shared entries are judged by the queries of the recursion that appends them.
  RECURVE_DEVICE void AddMass(const Row& row, float inverse) {
    const bool judged = args_.slots.records[row.slot].eviction == EvictionPolicy::kAttention;
    if (!judged || row.entry == kNoEntry) return;
    const size_t first =
        (size_t{row.slot} * args_.sizes.groups + row.group) * args_.sizes.max_positions;
    for (uint32_t t = simt::ThreadIndex(); t < row.visible; t += simt::BlockSize()) {
      args_.mass.Add(first + t, MassShare(p_[t], inverse));
    }
  }

  const AttentionArgs& args_;
  const KvLayout& layout_;
  const simt::SharedArray<float> scratch_;  // [BlockSize()]
  const simt::SharedArray<float> lanes_;    // [kLanes]
  const simt::Out<float> p_;                // [max_positions]
  const simt::Out<uint64_t> places_;        // [max_positions]
};

RECURVE_KERNEL(kMostThreads) AttentionKernel(const AttentionArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  RowAttention attention(args, shared);
  const uint32_t kv_heads = args.layout.kv_heads;
  const uint32_t items = CountOf(args.counts[0], args.set) * kv_heads;
  for (uint32_t item = simt::BlockIndex(); item < items; item += simt::GridSize()) {
    const uint32_t index = item / kv_heads;
    Row row = args.rows[index];
    // More only by a wrong plan, which the host finds out later.
    if (row.visible > args.sizes.max_positions) row.visible = args.sizes.max_positions;
    attention.Run(index, row, item % kv_heads);
  }
}

}  // namespace

uint32_t AttentionBlocks(const Runtime& runtime) { return 4 * runtime.facts().multiprocessors; }

absl::Status LaunchAttention(Runtime& runtime, const AttentionArgs& args) {
  const uint32_t threads = ThreadsFor(args.layout.head_dim, kMostThreads);
  const LaunchShape shape = {
      .blocks = AttentionBlocks(runtime),
      .threads = threads,
      .shared_bytes = simt::SharedBytes<float>(threads) + simt::SharedBytes<float>(kLanes),
      .work = AttentionWork(args.set, args.layout, args.heads, sizeof(float))};
  return Launch(runtime, "attention_f32", AttentionKernel, shape, args);
}

}  // namespace recurve::cuda
