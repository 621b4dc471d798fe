// SPDX-License-Identifier: Apache-2.0
// The planner up to EXIT: a plan's changes, and who leaves the block.
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/slot_planner.h"
#include "engine/sampling/arithmetic.h"

namespace recurve::cuda {
namespace {

// Notes that a token of the slot's history is there, as penalties count it.
RECURVE_DEVICE void CountToken(const PlannerArgs& args, uint32_t slot, uint32_t position,
                               TokenId token) {
  const size_t at = size_t{slot} * args.sizes.vocab + token;
  args.slots.token_counts.Or(at, kSeenToken);
  if (position >= args.slots.records[slot].sampling.generated) args.slots.token_counts.Add(at, 1U);
}

RECURVE_DEVICE void AdmitOne(const SlotPlanner& planner, const PlannerArgs& args,
                             const Admission& admission) {
  const TableSizes& sizes = args.sizes;
  const uint32_t slot = admission.slot;
  const uint32_t thread = simt::ThreadIndex();
  const uint32_t threads = simt::BlockSize();
  if (thread == 0) {
    args.slots.records.Set(slot, RecordOf(admission));
    args.slots.cap_rings.Set(slot, {});
    args.slots.bias_counts.Set(slot, admission.bias_count);
    args.slots.stop_counts.Set(slot, admission.stop_count);
  }
  const auto biases = planner.List<TokenBias>(planner.header().biases);
  for (uint32_t i = thread; i < admission.bias_count; i += threads) {
    args.slots.biases.Set(size_t{slot} * sizes.max_biases + i, biases[admission.bias_begin + i]);
  }
  const auto stop_ids = planner.List<TokenId>(planner.header().stop_ids);
  for (uint32_t i = thread; i < admission.stop_count; i += threads) {
    args.slots.stop_ids.Set(size_t{slot} * sizes.max_stop_ids + i,
                            stop_ids[admission.stop_begin + i]);
  }
  if (UsesTokenCounts(admission.sampling)) {
    for (uint32_t id = thread; id < sizes.vocab; id += threads) {
      args.slots.token_counts.Set(size_t{slot} * sizes.vocab + id, 0);
    }
  }
  if (admission.eviction == EvictionPolicy::kAttention) {
    const size_t masses = size_t{sizes.groups} * sizes.max_positions;
    for (size_t i = thread; i < masses; i += threads) args.slots.mass.Set(slot * masses + i, 0);
  }
}

RECURVE_KERNEL(kMostSlots, 1) AdmitKernel(const PlannerArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  const SlotPlanner planner(args, shared);
  const uint32_t thread = simt::ThreadIndex();
  if (thread == 0) args.stamps.Set(kPartExit, simt::GlobalTimer());
  const auto drops = planner.List<Drop>(planner.header().drops);
  for (uint32_t i = thread; i < planner.header().drops.count; i += simt::BlockSize()) {
    args.slots.records.Edit(drops[i].slot).state.stage = Stage::kNone;
  }
  simt::SyncBlock();
  const auto admits = planner.List<Admission>(planner.header().admits);
  for (uint32_t i = 0; i < planner.header().admits.count; ++i) AdmitOne(planner, args, admits[i]);
}

// The caps of one slot in a plan, in ascending positions.
RECURVE_DEVICE void ChangeCaps(const SlotPlanner& planner, const PlannerArgs& args,
                               const CapRun& run) {
  const uint32_t max_caps = args.sizes.max_caps;
  const auto changes = planner.List<CapChange>(planner.header().caps);
  const auto ring = args.slots.caps.Part(size_t{run.slot} * max_caps, max_caps);
  const uint32_t position = args.slots.records[run.slot].state.position;
  CapRing at = args.slots.cap_rings[run.slot];
  const auto element = [&at, max_caps](uint32_t i) { return (at.first + i) % max_caps; };
  for (uint32_t i = run.begin; i < run.begin + run.count; ++i) {
    const DepthCap cap = {changes[i].position, changes[i].cap};
    while (at.count > 0 && ring[element(at.count - 1)].position >= cap.position) --at.count;
    // Of the caps at or before the span in flight only the last one still has a meaning.
    while (at.count > 1 && ring[element(1)].position <= position) {
      at.first = element(1);
      --at.count;
    }
    if (at.count < max_caps) ring.Set(element(at.count++), cap);
  }
  args.slots.cap_rings.Set(run.slot, at);
}

// Evictions have moved entries already; here groups get their new sizes. Different changes of one
// kind change different words.
RECURVE_DEVICE void ApplyChanges(const SlotPlanner& planner, const PlannerArgs& args) {
  const PlanHeader header = planner.header();  // read once, whatever is written below
  const TableSizes& sizes = args.sizes;
  const uint32_t thread = simt::ThreadIndex();
  const uint32_t threads = simt::BlockSize();
  const auto evicts = planner.List<Evict>(header.evicts);
  for (uint32_t i = thread; i < header.evicts.count; i += threads) {
    args.slots.records.Edit(evicts[i].slot).state.count[evicts[i].group] = evicts[i].keep;
  }
  const auto pages = planner.List<PageChange>(header.pages);
  for (uint32_t i = thread; i < header.pages.count; i += threads) {
    const PageChange& change = pages[i];
    args.slots.pages.Set(PageIndex(sizes, change.slot, change.group, change.index), change.page);
  }
  const auto tokens = planner.List<TokenChange>(header.tokens);
  for (uint32_t i = thread; i < header.tokens.count; i += threads) {
    const TokenChange& change = tokens[i];
    const SlotRecord& slot = args.slots.records[change.slot];
    args.slots.tokens.Set(
        size_t{change.slot} * sizes.max_positions + change.position % sizes.max_positions,
        change.token);
    if (change.position < slot.state.position && UsesTokenCounts(slot.sampling)) {
      CountToken(args, change.slot, change.position, change.token);
    }
  }
  const auto runs = planner.List<CapRun>(header.cap_runs);
  for (uint32_t i = thread; i < header.cap_runs.count; i += threads) {
    ChangeCaps(planner, args, runs[i]);
  }
  const auto rooms = planner.List<RoomChange>(header.rooms);
  for (uint32_t i = thread; i < header.rooms.count; i += threads) {
    args.slots.records.Edit(rooms[i].slot).limits.room = rooms[i].room;
  }
  simt::SyncBlock();
}

RECURVE_DEVICE bool EndsRunNow(SlotPlanner& planner, const PlannerArgs& args) {
  const uint32_t thread = simt::ThreadIndex();
  uint64_t waiting = 0;
  uint64_t block_waits = 0;
  if (thread < args.sizes.slots) {
    const SlotRecord& slot = args.slots.records[thread];
    waiting = uint64_t{NeedOf(slot, Stage::kExit).rows} + NeedOf(slot, Stage::kEntry).rows;
    block_waits = slot.state.stage == Stage::kBlock ? 1 : 0;
  }
  // Slots are far fewer than 2^24, and their rows than 2^40.
  const uint64_t sum = planner.Sum(waiting | block_waits << 40);
  return EndsRun(planner.header().caps_of_step, sum % (uint64_t{1} << 40), sum >> 40 != 0);
}

// Appends the rows of one part of EXIT behind the `first` ones; how many there are then.
RECURVE_DEVICE uint32_t AddExitPart(SlotPlanner& planner, const PlannerArgs& args, ExitPart part,
                                    uint32_t first) {
  const SlotTables<simt::Out>& slots = args.slots;
  const uint32_t group = args.sizes.shape.exit_group();
  const uint32_t rows = planner.ForEach(
      [&slots, part](uint32_t id) {
        const RowRange range = ExitRows(slots.records[id], part);
        return range.end - range.begin;
      },
      [&](uint32_t id, uint32_t i, uint32_t place) {
        const SlotRecord& slot = slots.records[id];
        const uint32_t row = ExitRows(slot, part).begin + i;
        args.lists.exit_rows.Set(first + place, EndRow(slot, id, row, group, args.sizes.hidden));
      });
  return first + rows;
}

RECURVE_DEVICE void ListExit(SlotPlanner& planner, const PlannerArgs& args, ListCounts& counts) {
  SelectionState& selection = args.selection.Edit(0);
  const RowKind first = selection.first_at_exit;
  const bool enough_logits = planner.Choose(Stage::kExit, first);
  const uint32_t thread = simt::ThreadIndex();
  if (thread == 0 && !enough_logits) selection.first_at_exit = Other(first);
  counts.exit_slots = planner.count();
  if (thread < planner.count()) args.lists.exit_slots.Set(thread, planner.chosen(thread));
  counts.logit_rows = counts.query_rows = AddExitPart(planner, args, ExitPart::kLogits, 0);
  counts.exit_rows = counts.query_rows;
  if (args.sizes.exit_layers != 0) {
    counts.query_rows = AddExitPart(planner, args, ExitPart::kQueries, counts.logit_rows);
    counts.exit_rows = AddExitPart(planner, args, ExitPart::kEntries, counts.query_rows);
  }
  // All tokens of the spans are behind the next one, whose penalties count them.
  const SlotTables<simt::Out>& slots = args.slots;
  const uint32_t max_positions = args.sizes.max_positions;
  counts.exit_span_rows = planner.ForEach(
      [&slots](uint32_t id) { return slots.records[id].state.rows; },
      [&](uint32_t id, uint32_t i, uint32_t /*place*/) {
        const SlotRecord& slot = slots.records[id];
        if (!UsesTokenCounts(slot.sampling)) return;
        const uint32_t position = slot.state.position + i;
        const TokenId token = slots.tokens[size_t{id} * max_positions + position % max_positions];
        if (token < args.sizes.vocab) CountToken(args, id, position, token);
      });
}

RECURVE_KERNEL(kMostSlots, 1) PlanExitKernel(const PlannerArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  SlotPlanner planner(args, shared);
  const uint32_t thread = simt::ThreadIndex();
  ApplyChanges(planner, args);
  if (thread < args.sizes.slots) args.lists.outcomes.Set(thread, {.slot = thread});
  ListCounts counts;
  if (EndsRunNow(planner, args)) {
    counts.ends_run = 1;
    ListExit(planner, args, counts);
  }
  if (thread == 0) args.lists.counts.Set(0, counts);
}

}  // namespace

absl::Status LaunchAdmit(Runtime& runtime, const PlannerArgs& args) {
  const WorkCount work = {.part = kPartExit, .launch_bytes = sizeof(PlanHeader) + sizeof(uint64_t)};
  return Launch(runtime, "admit", AdmitKernel, PlannerShape(args.sizes, work), args);
}

absl::Status LaunchPlanExit(Runtime& runtime, const PlannerArgs& args) {
  const double of_slots = OfSlots<SlotRecord>(args.sizes) + OfSlots<Outcome>(args.sizes) +
                          OfSlots<uint32_t>(args.sizes);
  const WorkCount work = {.part = kPartExit,
                          .launch_bytes = sizeof(PlanHeader) + sizeof(ListCounts) +
                                          2 * sizeof(SelectionState) + of_slots,
                          .row_bytes = sizeof(Row)};
  return Launch(runtime, "plan_exit", PlanExitKernel, PlannerShape(args.sizes, work), args);
}

}  // namespace recurve::cuda
