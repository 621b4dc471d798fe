// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/page_changes.h"

#include <algorithm>

#include "engine/backend/cuda/block.h"
#include "engine/backend/eviction.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kThreads = 128;

// One command, by a block.
class GroupEviction {
 public:
  RECURVE_DEVICE GroupEviction(const EvictArgs& args, const Evict& evict,
                               simt::SharedArray<uint64_t> scan)
      : args_(args),
        evict_(evict),
        slot_(args.slots.records[evict.slot]),
        rule_(RuleFor({slot_.eviction, slot_.sinks, slot_.recent}, evict.group, args.sizes.shape)),
        scan_(scan),
        positions_(Scratch(args.positions)),
        stays_(Scratch(args.stays)),
        holes_(Scratch(args.holes)),
        survivors_(Scratch(args.survivors)),
        scores_(Scratch(args.scores)) {}

  RECURVE_DEVICE void Run() {
    Load();
    ChooseByPosition();
    if (chosen_ > 0) ChooseByScore();
    const uint32_t moves = ListMoves();
    MoveEntries(moves);
  }

 private:
  template <typename T>
  RECURVE_DEVICE simt::Out<T> Scratch(const simt::Out<T>& all) const {
    const uint32_t entries = args_.sizes.max_positions;
    return all.Part(size_t{simt::BlockIndex()} * entries, entries);
  }

  // Where the entry's position and score stand.
  RECURVE_DEVICE size_t Beside(uint32_t entry) const {
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, evict_.slot, evict_.group, entry);
    return size_t{place.page} * args_.layout.page_capacity + place.entry;
  }
  RECURVE_DEVICE size_t MassOf(uint32_t entry) const {
    const TableSizes& sizes = args_.sizes;
    return (size_t{evict_.slot} * sizes.groups + evict_.group) * sizes.max_positions + entry;
  }

  // Calls body(entry) for every entry, spread over the threads; then all go on together.
  template <typename Body>
  RECURVE_DEVICE void ForEachEntry(Body body) {
    for (uint32_t e = simt::ThreadIndex(); e < evict_.count; e += simt::BlockSize()) body(e);
    simt::SyncBlock();
  }

  RECURVE_DEVICE void Load() {
    ForEachEntry([this](uint32_t e) {
      positions_.Set(e, args_.pool.positions[Beside(e)]);
      uint64_t score = 0;
      if (rule_.policy == EvictionPolicy::kAttention) score = args_.mass[MassOf(e)];
      if (rule_.policy == EvictionPolicy::kRouter) score = ScoreKey(args_.pool.scores[Beside(e)]);
      scores_.Set(e, score);
    });
  }

  // Sinks and the last entries stay; stays_ is 2 for those between them.
  RECURVE_DEVICE void ChooseByPosition() {
    const bool by_score =
        rule_.policy == EvictionPolicy::kAttention || rule_.policy == EvictionPolicy::kRouter;
    const uint32_t sinks = rule_.sinks < evict_.keep ? rule_.sinks : evict_.keep;
    const uint32_t rest = evict_.keep - sinks;
    const uint32_t recent = by_score && rule_.recent < rest ? rule_.recent : rest;
    chosen_ = rest - recent;
    ForEachEntry([&](uint32_t e) {
      uint32_t earlier = 0;
      for (uint32_t other = 0; other < evict_.count; ++other) {
        earlier += positions_[other] < positions_[e] ? 1 : 0;
      }
      const bool stays = earlier < sinks || earlier >= evict_.count - recent;
      stays_.Set(e, stays ? 1 : 2);
    });
  }

  // Of the rest those of the highest scores, and of equal scores the later ones.
  RECURVE_DEVICE void ChooseByScore() {
    ForEachEntry([this](uint32_t e) {
      if (stays_[e] == 1) return;
      uint32_t better = 0;
      for (uint32_t other = 0; other < evict_.count; ++other) {
        if (stays_[other] == 1) continue;
        const bool is_better = scores_[other] > scores_[e] ||
                               (scores_[other] == scores_[e] && positions_[other] > positions_[e]);
        better += is_better ? 1 : 0;
      }
      holes_.Set(e, better < chosen_ ? 1 : 0);  // not before all have read stays_
    });
    ForEachEntry([this](uint32_t e) {
      if (stays_[e] == 2 && holes_[e] != 0) stays_.Set(e, 1);
    });
  }

  // Writes the places below `keep` that become free, and the survivors behind it, both in ascending
  // order; how many of each there are.
  RECURVE_DEVICE uint32_t ListMoves() {
    const uint64_t threads = simt::BlockSize();
    const uint64_t thread = simt::ThreadIndex();
    const auto begin = static_cast<uint32_t>(evict_.count * thread / threads);
    const auto end = static_cast<uint32_t>(evict_.count * (thread + 1) / threads);
    // Holes in the low half, survivors in the high one.
    uint64_t here = 0;
    for (uint32_t e = begin; e < end; ++e) here += KindOf(e);
    const uint64_t sum = BlockScan(here, scan_);
    auto hole = static_cast<uint32_t>(sum - here);
    auto survivor = static_cast<uint32_t>((sum - here) >> 32);
    for (uint32_t e = begin; e < end; ++e) {
      const uint64_t kind = KindOf(e);
      if (kind == kHole) holes_.Set(hole++, e);
      if (kind == kSurvivor) survivors_.Set(survivor++, e);
    }
    return static_cast<uint32_t>(BlockMax(sum, scan_));
  }
  static constexpr uint64_t kHole = 1;
  static constexpr uint64_t kSurvivor = uint64_t{1} << 32;
  RECURVE_DEVICE uint64_t KindOf(uint32_t entry) const {
    const bool stays = stays_[entry] == 1;
    if (entry < evict_.keep) return stays ? 0 : kHole;
    return stays ? kSurvivor : 0;
  }

  RECURVE_DEVICE void MoveEntries(uint32_t moves) {
    const KvLayout& layout = args_.layout;
    const uint32_t heads = layout.layers[evict_.group] * 2 * layout.kv_heads;
    for (uint32_t i = simt::ThreadIndex(); i < moves * heads; i += simt::BlockSize()) {
      const uint32_t head = i % heads;  // of layer, key or value and KV head
      const size_t from = WordOf(survivors_[i / heads], head);
      const size_t to = WordOf(holes_[i / heads], head);
      for (uint32_t w = 0; w < layout.stride; ++w) args_.pool.pages.Copy(to + w, from + w);
    }
    const bool has_scores = HasRouterScores(evict_.group, args_.sizes.shape);
    const bool has_mass = slot_.eviction == EvictionPolicy::kAttention;
    for (uint32_t i = simt::ThreadIndex(); i < moves; i += simt::BlockSize()) {
      const uint32_t from = survivors_[i];
      const uint32_t to = holes_[i];
      args_.pool.positions.Set(Beside(to), positions_[from]);
      if (has_scores) args_.pool.scores.Copy(Beside(to), Beside(from));
      if (has_mass) args_.mass.Copy(MassOf(to), MassOf(from));
    }
    simt::SyncBlock();
    if (!has_mass) return;
    for (uint32_t e = evict_.keep + simt::ThreadIndex(); e < evict_.count; e += simt::BlockSize()) {
      args_.mass.Set(MassOf(e), 0);
    }
    simt::SyncBlock();
  }

  RECURVE_DEVICE size_t WordOf(uint32_t entry, uint32_t head) const {
    const KvLayout& layout = args_.layout;
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, evict_.slot, evict_.group, entry);
    return layout.Offset(place.page, args_.sizes.page_entries[evict_.group],
                         head / (2 * layout.kv_heads), head / layout.kv_heads % 2,
                         head % layout.kv_heads, place.entry);
  }

  const EvictArgs& args_;
  const Evict evict_;
  const SlotRecord& slot_;
  const EvictionRule rule_;
  uint32_t chosen_ = 0;  // entries that stay for their scores
  const simt::SharedArray<uint64_t> scan_;
  const simt::Out<uint32_t> positions_, stays_, holes_, survivors_;
  const simt::Out<uint64_t> scores_;
};

RECURVE_KERNEL(kThreads, 4) EvictKernel(const EvictArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  const auto scan = shared.Array<uint64_t>(simt::BlockSize());
  const PlanHeader& header = args.plan.As<PlanHeader>(0, 1)[0];
  const auto evicts = args.plan.As<Evict>(header.evicts.begin, header.evicts.count);
  for (uint32_t i = simt::BlockIndex(); i < header.evicts.count; i += simt::GridSize()) {
    GroupEviction(args, evicts[i], scan).Run();
  }
}

// A thread owns the same elements of all pages, so that its copies come in the plan's order.
RECURVE_KERNEL(kThreads) CopyPagesKernel(const CopyPagesArgs args) {
  simt::GridWait();
  const PlanHeader& header = args.plan.As<PlanHeader>(0, 1)[0];
  const auto copies = args.plan.As<PageCopy>(header.copies.begin, header.copies.count);
  const size_t elements = args.layout.page_elements;
  const size_t capacity = args.layout.page_capacity;
  const size_t first = size_t{simt::BlockIndex()} * simt::BlockSize() + simt::ThreadIndex();
  const size_t step = size_t{simt::GridSize()} * simt::BlockSize();
  for (size_t i = first; i < elements; i += step) {
    for (uint32_t c = 0; c < header.copies.count; ++c) {
      args.pool.pages.Copy(copies[c].to * elements + i, copies[c].from * elements + i);
    }
  }
  for (size_t i = first; i < capacity; i += step) {
    for (uint32_t c = 0; c < header.copies.count; ++c) {
      const size_t to = copies[c].to * capacity + i;
      const size_t from = copies[c].from * capacity + i;
      args.pool.positions.Copy(to, from);
      args.pool.scores.Copy(to, from);
    }
  }
}

double EvictBytes(const KvLayout& layout, const Evict& evict) {
  constexpr double kPosition = sizeof(uint32_t);
  constexpr double kRouterScore = sizeof(float);
  constexpr double kMass = sizeof(uint64_t);
  const double leaving = evict.count - evict.keep;
  const double moves = std::min(evict.keep, evict.count - evict.keep);
  const double vectors = layout.layers[evict.group] * 2.0 * layout.kv_heads;
  const double words = vectors * layout.stride * sizeof(uint32_t);
  return evict.count * (kPosition + kMass) + leaving * kMass +
         moves * (kPosition + 2 * (kRouterScore + kMass + words));
}

double CopyBytes(const KvLayout& layout) {
  const double words = static_cast<double>(layout.page_elements) * sizeof(uint32_t);
  return 2 * (words + layout.page_capacity * double{sizeof(uint32_t) + sizeof(float)});
}

}  // namespace

uint32_t EvictBlocks(const Runtime& runtime) { return runtime.facts().multiprocessors; }

absl::Status LaunchEvict(Runtime& runtime, const EvictArgs& args, std::span<const Evict> evicts) {
  WorkCount work;
  for (const Evict& evict : evicts) work.launch_bytes += EvictBytes(args.layout, evict);
  const LaunchShape shape = {.blocks = EvictBlocks(runtime),
                             .threads = kThreads,
                             .shared_bytes = simt::SharedBytes<uint64_t>(kThreads),
                             .work = work};
  return Launch(runtime, "evict", EvictKernel, shape, args);
}

absl::Status LaunchCopyPages(Runtime& runtime, const CopyPagesArgs& args, size_t copies) {
  const LaunchShape shape = {
      .blocks = 4 * runtime.facts().multiprocessors,
      .threads = kThreads,
      .work = {.launch_bytes = static_cast<double>(copies) * CopyBytes(args.layout)}};
  return Launch(runtime, "copy_pages", CopyPagesKernel, shape, args);
}

}  // namespace recurve::cuda
