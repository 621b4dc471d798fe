// SPDX-License-Identifier: Apache-2.0
// The planner's last part: what became of the block, and the step's result.
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/slot_planner.h"

namespace recurve::cuda {
namespace {

// How many of the block's rows before each slot's own take the next recursion, and how many up to
// its last one; by the slot's number.
struct PassedRows {
  simt::SharedArray<uint32_t> begins, ends;  // [BlockSize()]
};

// What the routers decided for the block's rows, those of a slot one behind the other: counts their
// depths, and moves the active rows of each slot up.
RECURVE_DEVICE void PassRows(SlotPlanner& planner, const PlannerArgs& args, uint32_t rows,
                             const PassedRows& passed) {
  uint32_t sum = 0;  // of the rows of rounds before
  for (uint32_t round = 0; round < rows; round += simt::BlockSize()) {
    const uint32_t place = round + simt::ThreadIndex();
    const bool is_row = place < rows;
    const uint32_t slot = is_row ? args.lists.block_rows[place].slot : 0;
    const bool passes = is_row && args.lists.passes[place] != 0;
    const bool is_last =
        is_row && (place + 1 == rows || args.lists.block_rows[place + 1].slot != slot);
    const uint32_t i = is_row ? place - args.lists.block_first[slot] : 0;
    const size_t first = size_t{slot} * args.sizes.chunk;
    const uint32_t row = is_row ? args.slots.active[first + i] : 0;
    const uint32_t end = sum + planner.Scan(passes ? 1 : 0);
    const uint32_t before = end - (passes ? 1 : 0);
    if (is_row && i == 0) passed.begins[slot] = before;
    if (is_last) passed.ends[slot] = end;
    simt::SyncBlock();
    if (is_row) ++args.slots.row_depth.Edit(first + row);
    if (passes) args.slots.active.Set(first + before - passed.begins[slot], row);
    if (round + simt::BlockSize() < rows) sum += planner.Sum(passes ? 1 : 0);
  }
}

RECURVE_DEVICE void FinishBlock(SlotPlanner& planner, const PlannerArgs& args,
                                const ListCounts& counts, const PassedRows& passed) {
  PassRows(planner, args, counts.block_rows, passed);
  const uint32_t thread = simt::ThreadIndex();
  if (thread < counts.block_slots) {
    const uint32_t id = args.lists.block_slots[thread];
    SlotRecord& slot = args.slots.records.Edit(id);
    Outcome& outcome = args.lists.outcomes.Edit(id);
    const Outcome ran = {
        .slot = id, .ran = kRanBlock, .active = passed.ends[id] - passed.begins[id]};
    slot.state = Resolve(slot.state, ran, slot.limits, args.sizes.shape);
    outcome.ran |= kRanBlock;
    // Of the last recursion too, as the CPU's slot table says it.
    outcome.active = slot.state.active;
  }
  simt::SyncBlock();
}

// Writes the outcomes of slots that ran anything, in slot order; how many.
RECURVE_DEVICE uint32_t WriteOutcomes(SlotPlanner& planner, const PlannerArgs& args,
                                      simt::Out<uint32_t> result, const ResultLayout& layout) {
  const auto out = result.As<Outcome>(layout.outcomes, args.sizes.slots);
  planner.ChooseAll();
  return planner.ForEach([&](uint32_t id) { return args.lists.outcomes[id].ran != 0 ? 1U : 0U; },
                         [&](uint32_t id, uint32_t /*i*/, uint32_t place) {
                           out.Set(place, args.lists.outcomes[id]);
                         });
}

// Log probabilities and raw logits, in the order of the rows; how many of both there are.
struct RowLists {
  uint32_t logprobs = 0;
  uint32_t logits_rows = 0;
};
RECURVE_DEVICE RowLists WriteRows(SlotPlanner& planner, const PublishArgs& args,
                                  const ListCounts& counts, simt::Out<uint32_t> result,
                                  uint32_t epoch) {
  const StepLists<simt::Out>& step = args.planner.lists;
  const auto& records = args.planner.slots.records;
  const uint32_t ends = args.planner.sizes.ends;
  const uint32_t vocab = args.planner.sizes.vocab;
  const auto logprobs =
      result.As<TokenLogprob>(args.layout.logprobs, size_t{ends} * args.row_logprobs);
  const auto logits_rows = result.As<LogitsRow>(args.layout.logits_rows, ends);
  RowLists lists;
  for (uint32_t first = 0; first < counts.logit_rows; first += simt::BlockSize()) {
    const uint32_t left = counts.logit_rows - first;
    planner.ChooseFirst(left < simt::BlockSize() ? left : simt::BlockSize());
    lists.logprobs += planner.ForEach([&](uint32_t k) { return step.verdicts[first + k].logprobs; },
                                      [&](uint32_t k, uint32_t i, uint32_t place) {
                                        const size_t from =
                                            size_t{first + k} * args.row_logprobs + i;
                                        logprobs.Set(lists.logprobs + place, args.logprobs[from]);
                                      });
    const size_t at = size_t{epoch % 2} * ends + lists.logits_rows;
    lists.logits_rows +=
        planner.ForEach(
            [&](uint32_t k) {
              const Row& row = step.exit_rows[first + k];
              return (records[row.slot].wants & kWantsRawLogits) != 0 ? vocab : 0;
            },
            [&](uint32_t k, uint32_t i, uint32_t place) {
              const Row& row = step.exit_rows[first + k];
              const LogitsRow told = {row.slot, row.position};
              if (i == 0) logits_rows.Set(lists.logits_rows + place / vocab, told);
              args.raw_logits.Set(at * vocab + place, args.logits[size_t{first + k} * vocab + i]);
            }) /
        vocab;
  }
  return lists;
}

RECURVE_KERNEL(kMostSlots, 1) PublishKernel(const PublishArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  SlotPlanner planner(args.planner, shared);
  const PassedRows passed = {shared.Array<uint32_t>(simt::BlockSize()),
                             shared.Array<uint32_t>(simt::BlockSize())};
  const ListCounts counts = args.planner.lists.counts[0];
  const uint32_t epoch = planner.header().epoch;
  const auto result = args.result.Part(size_t{epoch % 2} * args.layout.words, args.layout.words);
  FinishBlock(planner, args.planner, counts, passed);
  ResultHeader header;
  header.epoch = epoch;
  header.outcomes = WriteOutcomes(planner, args.planner, result, args.layout);
  const RowLists lists = WriteRows(planner, args, counts, result, epoch);
  header.logprobs = lists.logprobs;
  header.logits_rows = lists.logits_rows;
  header.depths = counts.exit_span_rows;
  for (uint32_t i = simt::ThreadIndex(); i < counts.exit_span_rows; i += simt::BlockSize()) {
    result.Set(args.layout.depths + i, args.planner.lists.exit_depths[i]);
  }
  header.part_rows[kPartExit] = counts.exit_span_rows;
  header.part_rows[kPartSampling] = counts.logit_rows;
  header.part_rows[kPartEntry] = counts.entry_rows;
  header.part_rows[kPartBlock] = header.part_rows[kPartRouters] = counts.block_rows;
  if (simt::ThreadIndex() == 0) {
    for (uint32_t part = 0; part < kStepParts; ++part) {
      header.stamps[part] = args.planner.stamps[part];
    }
    header.stamps[kStepParts] = simt::GlobalTimer();
    result.As<ResultHeader>(0, 1).Set(0, header);
  }
}

WorkCount PublishWork(const TableSizes& sizes) {
  constexpr double kNumber = sizeof(uint32_t);
  constexpr double kExitRow = 2 * kNumber;
  constexpr double kBlockRow = sizeof(Row) + kNumber + 4 * kNumber;
  const double of_slots =
      2 * OfSlots<SlotRecord>(sizes) + 3 * OfSlots<Outcome>(sizes) + 2 * OfSlots<uint32_t>(sizes);
  return {.part = kPartBlock,
          .launch_bytes = sizeof(PlanHeader) + sizeof(ListCounts) + kStepParts * sizeof(uint64_t) +
                          sizeof(ResultHeader) + of_slots,
          .row_bytes = kBlockRow + kExitRow / sizes.shape.recursions};
}

}  // namespace

absl::Status LaunchPublish(Runtime& runtime, const PublishArgs& args) {
  const TableSizes& sizes = args.planner.sizes;
  LaunchShape shape = PlannerShape(sizes, PublishWork(sizes));
  shape.shared_bytes += 2 * simt::SharedBytes<uint32_t>(shape.threads);
  return Launch(runtime, "publish", PublishKernel, shape, args);
}

}  // namespace recurve::cuda
