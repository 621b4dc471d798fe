// SPDX-License-Identifier: Apache-2.0
// The device code that the planner's kernels share: which slots take part at a stage, and lists of
// their rows. For planner_*.cu alone.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_SLOT_PLANNER_H_
#define RECURVE_ENGINE_BACKEND_CUDA_SLOT_PLANNER_H_

#include <cstdint>

#include "engine/backend/cuda/block.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/backend/rows.h"
#include "engine/backend/step.h"

namespace recurve::cuda {

// Bytes of shared memory that a SlotPlanner takes.
inline size_t SlotPlannerShared(uint32_t threads) {
  return simt::SharedBytes<uint64_t>(threads) + 2 * simt::SharedBytes<uint32_t>(threads) +
         simt::SharedBytes<uint32_t>(4);
}

// One block with a thread for every slot and, as far as a block can, for every row: the launch of
// every kernel of the planner.
inline LaunchShape PlannerShape(const TableSizes& sizes, const WorkCount& work) {
  const uint32_t threads =
      ThreadsFor(sizes.slots < sizes.rows ? sizes.rows : sizes.slots, kMostSlots);
  return {
      .blocks = 1, .threads = threads, .shared_bytes = SlotPlannerShared(threads), .work = work};
}

// Bytes of all elements of what the planner reads or writes slot by slot.
template <typename T>
double OfSlots(const TableSizes& sizes) {
  return double{sizeof(T)} * sizes.slots;
}

// Of one block, each of whose threads has a copy and calls every method.
class SlotPlanner {
 public:
  RECURVE_DEVICE SlotPlanner(const PlannerArgs& args, simt::SharedMemory& shared)
      : args_(args),
        sizes_(args.sizes),
        thread_(simt::ThreadIndex()),
        scan_(shared.Array<uint64_t>(simt::BlockSize())),
        chosen_(shared.Array<uint32_t>(simt::BlockSize())),
        offsets_(shared.Array<uint32_t>(simt::BlockSize())),
        words_(shared.Array<uint32_t>(4)) {}

  RECURVE_DEVICE const PlanHeader& header() const { return args_.plan.As<PlanHeader>(0, 1)[0]; }

  template <typename T>
  RECURVE_DEVICE simt::In<T> List(const WordList& list) const {
    return args_.plan.As<T>(list.begin, list.count);
  }

  // Of the values of all threads; Scan: of this thread's and those before it.
  RECURVE_DEVICE uint32_t Scan(uint32_t value) { return BlockScan(value, offsets_); }
  RECURVE_DEVICE uint64_t Sum(uint64_t value) { return BlockSum(value, scan_); }
  RECURVE_DEVICE uint64_t Or(uint64_t value) {
    return BlockReduce(value, scan_, [](uint64_t a, uint64_t b) { return a | b; });
  }

  // Chooses the slots that take part at `stage`, list `first` before the other. False: the second
  // list left out a slot for want of logits.
  RECURVE_DEVICE bool Choose(Stage stage, RowKind first) {
    count_ = 0;
    const StepCaps caps = header().caps_of_step;
    RowCounts left = CapsOf(caps, stage, first);
    ChooseKind(stage, first, left);
    left.rows = CapsOf(caps, stage, Other(first)).rows;
    return ChooseKind(stage, Other(first), left);
  }

  // The slots 0, 1, ..., as if they had been chosen in this order.
  RECURVE_DEVICE void ChooseAll() { ChooseFirst(sizes_.slots); }
  // The same of the first `count` of what else the caller counts, BlockSize() at most.
  RECURVE_DEVICE void ChooseFirst(uint32_t count) {
    count_ = count;
    if (thread_ < count_) chosen_[thread_] = thread_;
    simt::SyncBlock();
  }

  // As many as were chosen, and the k-th of them.
  RECURVE_DEVICE uint32_t count() const { return count_; }
  RECURVE_DEVICE uint32_t chosen(uint32_t k) const { return chosen_[k]; }

  // Calls body(slot, i, place) for every i in [0, size_of(slot)) of every chosen slot, with places
  // that count on from slot to slot; spread over the threads. Returns the sum of the sizes.
  template <typename SizeOf, typename Body>
  RECURVE_DEVICE uint32_t ForEach(SizeOf size_of, Body body) {
    const uint32_t size = thread_ < count_ ? size_of(chosen_[thread_]) : 0;
    const uint32_t end = BlockScan(size, offsets_);
    offsets_[thread_] = end - size;
    if (thread_ + 1 == simt::BlockSize()) words_[0] = end;
    simt::SyncBlock();
    const uint32_t total = words_[0];
    for (uint32_t place = thread_; place < total; place += simt::BlockSize()) {
      const uint32_t k = OwnerOf(place);
      body(chosen_[k], place - offsets_[k], place);
    }
    simt::SyncBlock();
    return total;
  }

 private:
  // One list of Choose; `left` is what it may still take, and then what it leaves.
  RECURVE_DEVICE bool ChooseKind(Stage stage, RowKind kind, RowCounts& left) {
    uint32_t& cursor =
        args_.selection.Edit(0).cursor[static_cast<uint32_t>(stage)][static_cast<uint32_t>(kind)];
    const uint32_t id = (cursor + thread_) % sizes_.slots;
    RowCounts need;
    if (thread_ < sizes_.slots) {
      const SlotRecord& slot = args_.slots.records[id];
      if (KindOf(slot) == kind) need = NeedOf(slot, stage);
    }
    // Sums of rows in the low half, of rows with logits in the high one. They grow with the
    // threads, so who fits comes before all who do not, and the first of these needs rows.
    const uint64_t own = need.rows | uint64_t{need.logits} << 32;
    const uint64_t sums = BlockScan(own, scan_);
    const bool fits = Fits(CountsOf(sums), left);
    const bool takes_part = need.rows > 0 && fits;
    const uint32_t rank = BlockScan(takes_part ? 1U : 0U, offsets_);
    if (takes_part) chosen_[count_ + rank - 1] = id;
    const bool is_refused = !fits && Fits(CountsOf(sums - own), left);  // the first one
    if (is_refused) cursor = id;
    if (is_refused || (fits && thread_ + 1 == simt::BlockSize())) {
      scan_[0] = fits ? sums : sums - own;
      words_[0] = CountsOf(sums).logits <= left.logits ? 1 : 0;
      words_[1] = rank;
    }
    simt::SyncBlock();
    const RowCounts taken = CountsOf(scan_[0]);
    const bool enough_logits = words_[0] != 0;
    count_ += words_[1];
    left.rows -= taken.rows;
    left.logits -= taken.logits;
    simt::SyncBlock();
    return enough_logits;
  }
  RECURVE_DEVICE static RowCounts CountsOf(uint64_t sums) {
    return {static_cast<uint32_t>(sums), static_cast<uint32_t>(sums >> 32)};
  }

  // The chosen slot, by its number, to which a place of ForEach belongs.
  RECURVE_DEVICE uint32_t OwnerOf(uint32_t place) const {
    uint32_t begin = 0;
    uint32_t end = count_;
    while (begin + 1 < end) {
      const uint32_t middle = begin + (end - begin) / 2;
      if (offsets_[middle] <= place) {
        begin = middle;
      } else {
        end = middle;
      }
    }
    return begin;
  }

  const PlannerArgs& args_;
  const TableSizes& sizes_;
  const uint32_t thread_;
  uint32_t count_ = 0;
  const simt::SharedArray<uint64_t> scan_;     // [BlockSize()]
  const simt::SharedArray<uint32_t> chosen_;   // [BlockSize()]
  const simt::SharedArray<uint32_t> offsets_;  // [BlockSize()]
  const simt::SharedArray<uint32_t> words_;    // [4]
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_SLOT_PLANNER_H_
