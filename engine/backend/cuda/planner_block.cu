// SPDX-License-Identifier: Apache-2.0
// The planner after sampling: what became of EXIT, and the rows of ENTRY and of the block.
#include <cstddef>

#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/slot_planner.h"

namespace recurve::cuda {
namespace {

// The verdicts of rows with logits become those of their slots.
RECURVE_DEVICE void TakeVerdicts(const PlannerArgs& args, const ListCounts& counts) {
  constexpr uint32_t kOutcomeWords = sizeof(Outcome) / sizeof(uint32_t);
  constexpr uint32_t kFlags = offsetof(Outcome, flags) / sizeof(uint32_t);
  const auto words = args.lists.outcomes.As<uint32_t>(0, size_t{args.sizes.slots} * kOutcomeWords);
  for (uint32_t i = simt::ThreadIndex(); i < counts.logit_rows; i += simt::BlockSize()) {
    const Verdict& verdict = args.lists.verdicts[i];
    const uint32_t slot = args.lists.exit_rows[i].slot;
    if (verdict.token != kNoToken) args.lists.outcomes.Edit(slot).token = verdict.token;
    if (verdict.flags != 0) words.Or(size_t{slot} * kOutcomeWords + kFlags, verdict.flags);
  }
  simt::SyncBlock();
}

RECURVE_DEVICE void FinishExit(SlotPlanner& planner, const PlannerArgs& args,
                               const ListCounts& counts) {
  const TableSizes& sizes = args.sizes;
  const uint32_t thread = simt::ThreadIndex();
  TakeVerdicts(args, counts);
  if (thread < counts.exit_slots) {
    Outcome& outcome = args.lists.outcomes.Edit(args.lists.exit_slots[thread]);
    outcome.ran = kRanExit;
    if ((outcome.flags & kNotFinite) != 0) outcome.token = kNoToken;
  }
  simt::SyncBlock();
  // Depths in the order of the outcomes, which is that of the slots.
  planner.ChooseAll();
  planner.ForEach(
      [&](uint32_t id) {
        return args.lists.outcomes[id].ran != 0 ? args.slots.records[id].state.rows : 0U;
      },
      [&](uint32_t id, uint32_t i, uint32_t place) {
        args.lists.exit_depths.Set(place, args.slots.row_depth[size_t{id} * sizes.chunk + i]);
      });
  if (thread < sizes.slots && args.lists.outcomes[thread].ran != 0) {
    const Outcome& outcome = args.lists.outcomes[thread];
    SlotRecord& slot = args.slots.records.Edit(thread);
    const uint32_t next = slot.state.position + slot.state.rows;
    if (outcome.token != kNoToken) {
      args.slots.tokens.Set(size_t{thread} * sizes.max_positions + next % sizes.max_positions,
                            outcome.token);
    }
    slot.state = Resolve(slot.state, outcome, slot.limits, sizes.shape);
  }
  simt::SyncBlock();
}

RECURVE_DEVICE uint32_t ListEntry(SlotPlanner& planner, const PlannerArgs& args) {
  const TableSizes& sizes = args.sizes;
  const SlotTables<simt::Out>& slots = args.slots;
  planner.Choose(Stage::kEntry, RowKind::kGenerated);
  const uint32_t group = sizes.shape.entry_group();
  const uint32_t rows = planner.ForEach(
      [&slots](uint32_t id) {
        const SlotRecord& slot = slots.records[id];
        return SpanRows(slot.state, slot.limits);
      },
      [&](uint32_t id, uint32_t i, uint32_t place) {
        const SlotRecord& slot = slots.records[id];
        args.lists.entry_rows.Set(place, EndRow(slot, id, i, group, sizes.hidden));
        slots.active.Set(size_t{id} * sizes.chunk + i, i);
        slots.row_depth.Set(size_t{id} * sizes.chunk + i, 0);
      });
  const uint32_t thread = simt::ThreadIndex();
  if (thread < planner.count()) {
    const uint32_t id = planner.chosen(thread);
    SlotRecord& slot = slots.records.Edit(id);
    Outcome entered = {.slot = id, .ran = kRanEntry};
    entered.rows = SpanRows(slot.state, slot.limits);
    slot.state = Resolve(slot.state, entered, slot.limits, sizes.shape);
    Outcome& outcome = args.lists.outcomes.Edit(id);
    outcome.ran |= kRanEntry;
    outcome.rows = entered.rows;
  }
  simt::SyncBlock();
  return rows;
}

// The score by which a row got into its recursion goes to the entry that it appends.
RECURVE_DEVICE void KeepScore(const PlanBlockArgs& args, const Row& row) {
  if (row.recursion < 2 || row.entry == kNoEntry) return;
  const EntryPlace place =
      PlaceOf(args.planner.slots, args.planner.sizes, row.slot, row.group, row.entry);
  args.entry_scores.Set(size_t{place.page} * args.page_capacity + place.entry,
                        args.has_scores != 0 ? args.row_scores[row.hidden] : 0.0F);
}

// The block rows of one recursion, `first` of which are there before; how many there are then.
RECURVE_DEVICE uint32_t ListRecursion(SlotPlanner& planner, const PlanBlockArgs& block_args,
                                      uint32_t recursion, uint32_t first) {
  const PlannerArgs& args = block_args.planner;
  const TableSizes& sizes = args.sizes;
  const SlotTables<simt::Out>& slots = args.slots;
  const uint32_t rows = planner.ForEach(
      [&slots, recursion](uint32_t id) {
        const SlotState& state = slots.records[id].state;
        return state.recursion == recursion ? state.active : 0U;
      },
      [&](uint32_t id, uint32_t i, uint32_t place) {
        const uint32_t span_row = slots.active[size_t{id} * sizes.chunk + i];
        const Row row = BlockRow(slots.records[id], id, i, span_row, sizes.shape,
                                 sizes.overlay != 0, sizes.hidden);
        args.lists.block_rows.Set(first + place, row);
        if (i == 0) args.lists.block_first.Set(id, first + place);
        KeepScore(block_args, row);
      });
  return first + rows;
}

// Writes the ranges of recursions where they stay: an array that a thread indexes is no register.
RECURVE_DEVICE void ListBlock(SlotPlanner& planner, const PlanBlockArgs& block_args,
                              ListCounts& counts) {
  const PlannerArgs& args = block_args.planner;
  planner.Choose(Stage::kBlock, RowKind::kGenerated);
  const uint32_t thread = simt::ThreadIndex();
  const bool is_chosen = thread < planner.count();
  const uint32_t chosen = is_chosen ? planner.chosen(thread) : 0;
  counts.block_slots = planner.count();
  if (is_chosen) args.lists.block_slots.Set(thread, chosen);
  // Most steps have slots at few of the recursions.
  const uint64_t used =
      planner.Or(is_chosen ? uint64_t{1} << args.slots.records[chosen].state.recursion : 0);
  ListCounts& told = args.lists.counts.Edit(0);
  for (uint32_t recursion = 1; recursion <= args.sizes.shape.recursions; ++recursion) {
    const uint32_t first = counts.block_rows;
    const bool has_rows = (used >> recursion) % 2 != 0;
    if (has_rows) counts.block_rows = ListRecursion(planner, block_args, recursion, first);
    if (thread == 0) told.recursions[recursion - 1] = {first, counts.block_rows};
  }
}

RECURVE_KERNEL(kMostSlots, 1) PlanBlockKernel(const PlanBlockArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  SlotPlanner planner(args.planner, shared);
  ListCounts counts = args.planner.lists.counts[0];
  if (counts.ends_run != 0) {
    FinishExit(planner, args.planner, counts);
    counts.entry_rows = ListEntry(planner, args.planner);
  }
  ListBlock(planner, args, counts);
  if (simt::ThreadIndex() == 0) {
    ListCounts& told = args.planner.lists.counts.Edit(0);
    told.entry_rows = counts.entry_rows;
    told.block_slots = counts.block_slots;
    told.block_rows = counts.block_rows;
    args.planner.stamps.Set(kPartEntry, simt::GlobalTimer());
  }
}

WorkCount PlanBlockWork(const PlanBlockArgs& args) {
  const TableSizes& sizes = args.planner.sizes;
  constexpr double kNumber = sizeof(uint32_t);
  constexpr double kExitRow = sizeof(Verdict) + sizeof(Row) + 3 * kNumber;
  constexpr double kEntryRow = sizeof(Row) + 2 * kNumber;
  constexpr double kBlockRow = sizeof(Row) + kNumber;
  const double recursions = sizes.shape.recursions;
  const double score = (args.has_scores != 0 ? 3 : 2) * kNumber;
  const double scores = sizes.shape.shared_kv != 0 ? 0 : recursions - 1;  // of a token
  const double of_slots =
      2 * OfSlots<SlotRecord>(sizes) + 2 * OfSlots<Outcome>(sizes) + 3 * OfSlots<uint32_t>(sizes);
  return {.part = kPartBlock,
          .launch_bytes = sizeof(PlanHeader) + 2 * sizeof(ListCounts) + 2 * sizeof(SelectionState) +
                          sizeof(uint64_t) + of_slots,
          .row_bytes = kBlockRow + (kExitRow + kEntryRow + scores * score) / recursions};
}

}  // namespace

absl::Status LaunchPlanBlock(Runtime& runtime, const PlanBlockArgs& args) {
  const TableSizes& sizes = args.planner.sizes;
  return Launch(runtime, "plan_block", PlanBlockKernel, PlannerShape(sizes, PlanBlockWork(args)),
                args);
}

}  // namespace recurve::cuda
