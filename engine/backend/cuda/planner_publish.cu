// SPDX-License-Identifier: Apache-2.0
// The planner's last part: what became of the block, and the step's result.
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/slot_planner.h"

namespace recurve::cuda {
namespace {

RECURVE_DEVICE void FinishBlock(const PlannerArgs& args, const ListCounts& counts) {
  const uint32_t thread = simt::ThreadIndex();
  if (thread < counts.block_slots) {
    const uint32_t id = args.lists.block_slots[thread];
    const size_t first = size_t{id} * args.sizes.chunk;
    const uint32_t first_row = args.lists.block_first[id];
    SlotRecord& slot = args.slots.records.Edit(id);
    Outcome& outcome = args.lists.outcomes.Edit(id);
    Outcome ran = {.slot = id, .ran = kRanBlock};
    for (uint32_t i = 0; i < slot.state.active; ++i) {
      const uint32_t row = args.slots.active[first + i];
      ++args.slots.row_depth.Edit(first + row);
      if (args.lists.passes[first_row + i] != 0) {
        args.slots.active.Set(first + ran.active++, row);
      }
    }
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

// Log probabilities and raw logits, row by row: rows are few, and their order is the result's.
struct RowLists {
  uint32_t logprobs = 0;
  uint32_t logits_rows = 0;
};
RECURVE_DEVICE RowLists WriteRows(const PublishArgs& args, const ListCounts& counts,
                                  simt::Out<uint32_t> result, uint32_t epoch) {
  const PlannerArgs& planner = args.planner;
  const uint32_t ends = planner.sizes.ends;
  const uint32_t vocab = planner.sizes.vocab;
  const auto logprobs =
      result.As<TokenLogprob>(args.layout.logprobs, size_t{ends} * args.row_logprobs);
  const auto logits_rows = result.As<LogitsRow>(args.layout.logits_rows, ends);
  RowLists lists;
  for (uint32_t i = 0; i < counts.logit_rows; ++i) {
    const uint32_t found = planner.lists.verdicts[i].logprobs;
    for (uint32_t j = simt::ThreadIndex(); j < found; j += simt::BlockSize()) {
      logprobs.Set(lists.logprobs + j, args.logprobs[size_t{i} * args.row_logprobs + j]);
    }
    lists.logprobs += found;
    const Row& row = planner.lists.exit_rows[i];
    if ((planner.slots.records[row.slot].wants & kWantsRawLogits) == 0) continue;
    if (simt::ThreadIndex() == 0) logits_rows.Set(lists.logits_rows, {row.slot, row.position});
    const size_t at = (size_t{epoch % 2} * ends + lists.logits_rows) * vocab;
    for (uint32_t id = simt::ThreadIndex(); id < vocab; id += simt::BlockSize()) {
      args.raw_logits.Set(at + id, args.logits[size_t{i} * vocab + id]);
    }
    ++lists.logits_rows;
  }
  return lists;
}

RECURVE_KERNEL(kMostSlots) PublishKernel(const PublishArgs args) {
  simt::GridWait();
  simt::SharedMemory shared;
  SlotPlanner planner(args.planner, shared);
  const ListCounts counts = args.planner.lists.counts[0];
  const uint32_t epoch = planner.header().epoch;
  const auto result = args.result.Part(size_t{epoch % 2} * args.layout.words, args.layout.words);
  FinishBlock(args.planner, counts);
  ResultHeader header;
  header.epoch = epoch;
  header.outcomes = WriteOutcomes(planner, args.planner, result, args.layout);
  const RowLists lists = WriteRows(args, counts, result, epoch);
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

}  // namespace

absl::Status LaunchPublish(Runtime& runtime, const PublishArgs& args) {
  return Launch(runtime, "publish", PublishKernel, PlannerShape(args.planner.sizes), args);
}

}  // namespace recurve::cuda
