// SPDX-License-Identifier: Apache-2.0
// What a device keeps of its slots from step to step, and the lists of the step that runs. The
// planner writes them; the other kernels read them.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_STEP_TABLES_H_
#define RECURVE_ENGINE_BACKEND_CUDA_STEP_TABLES_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/rows.h"
#include "engine/backend/step.h"
#include "engine/base/host_device.h"
#include "engine/model/config.h"

namespace recurve::cuda {

// Sizes that follow from model and limits.
struct TableSizes {
  StepShape shape;
  HiddenLayout hidden;
  uint32_t slots = 0;
  uint32_t chunk = 0;
  uint32_t max_positions = 0;
  uint32_t groups = 0;
  uint32_t group_pages = 0;                // most pages that a slot has in a group
  uint32_t page_entries[kMaxGroups] = {};  // entries of a page, by group
  uint32_t vocab = 0;
  uint32_t max_biases = 0;
  uint32_t max_stop_ids = 0;
  uint32_t max_caps = 0;  // of a slot, at once
  uint32_t overlay = 0;   // 1: KvMode::kSharedUpdate
  uint32_t exit_layers = 0;
  uint32_t rows = 0;  // most of a stage
  uint32_t ends = 0;  // most rows with logits
};
TableSizes SizesOf(const ModelConfig& config, const BackendLimits& limits);

// A slot's caps are a ring: element i lies at (first + i) % max_caps.
struct CapRing {
  uint32_t first = 0;
  uint32_t count = 0;
};

// What is counted of the lists below.
struct ListCounts {
  uint32_t ends_run = 0;
  uint32_t exit_slots = 0, exit_rows = 0, logit_rows = 0, query_rows = 0;
  uint32_t exit_span_rows =
      0;  // of the spans that pass EXIT, those without a place in the list too
  uint32_t entry_rows = 0;
  uint32_t block_slots = 0, block_rows = 0;
  RowRange recursions[kMaxGroups] = {};  // of block rows, by recursion - 1; empty ones too
};

// What a row with logits yielded.
struct Verdict {
  TokenId token = kNoToken;
  uint32_t flags = 0;     // Outcome::flags
  uint32_t logprobs = 0;  // of this row
};

struct StepMemory {
  TableSizes sizes;
  DeviceMemory records, active, row_depth, tokens, pages, caps, cap_rings, biases, bias_counts,
      stop_ids, stop_counts, token_counts, mass, selection;
  DeviceMemory counts, outcomes, exit_slots, block_slots, block_first, exit_rows, entry_rows,
      block_rows, exit_depths, passes, verdicts;
};

// Allocates all of it and writes what slots are before the first plan.
absl::StatusOr<StepMemory> AllocateStepMemory(Runtime& runtime, const TableSizes& sizes);

// Slot by slot. `Span` is simt::In or simt::Out.
template <template <typename> typename Span>
struct SlotTables {
  SlotTables() = default;
  explicit SlotTables(const StepMemory& m)
      : records(m.records, 0, m.sizes.slots),
        active(m.active, 0, size_t{m.sizes.slots} * m.sizes.chunk),
        row_depth(m.row_depth, 0, size_t{m.sizes.slots} * m.sizes.chunk),
        tokens(m.tokens, 0, size_t{m.sizes.slots} * m.sizes.max_positions),
        pages(m.pages, 0, size_t{m.sizes.slots} * m.sizes.groups * m.sizes.group_pages),
        caps(m.caps, 0, size_t{m.sizes.slots} * m.sizes.max_caps),
        cap_rings(m.cap_rings, 0, m.sizes.slots),
        biases(m.biases, 0, size_t{m.sizes.slots} * m.sizes.max_biases),
        bias_counts(m.bias_counts, 0, m.sizes.slots),
        stop_ids(m.stop_ids, 0, size_t{m.sizes.slots} * m.sizes.max_stop_ids),
        stop_counts(m.stop_counts, 0, m.sizes.slots),
        token_counts(m.token_counts, 0, size_t{m.sizes.slots} * m.sizes.vocab),
        mass(m.mass, 0, size_t{m.sizes.slots} * m.sizes.groups * m.sizes.max_positions) {}

  Span<SlotRecord> records;     // [slots]
  Span<uint32_t> active;        // [slots][chunk]: rows of the span that take state.recursion
  Span<uint32_t> row_depth;     // [slots][chunk]: recursions that each row of the span has run
  Span<TokenId> tokens;         // [slots][max_positions]: a ring, position p at p % max_positions
  Span<uint32_t> pages;         // [slots][groups][group_pages]
  Span<DepthCap> caps;          // [slots][max_caps]
  Span<CapRing> cap_rings;      // [slots]
  Span<TokenBias> biases;       // [slots][max_biases]
  Span<uint32_t> bias_counts;   // [slots]
  Span<TokenId> stop_ids;       // [slots][max_stop_ids]
  Span<uint32_t> stop_counts;   // [slots]
  Span<uint32_t> token_counts;  // [slots][vocab]: kSeenToken, plus how often it was generated
  Span<uint64_t> mass;          // [slots][groups][max_positions]: attention that entries have got
};
inline constexpr uint32_t kSeenToken = 0x80000000U;

// Of the step that runs.
template <template <typename> typename Span>
struct StepLists {
  StepLists() = default;
  explicit StepLists(const StepMemory& m)
      : counts(m.counts, 0, 1),
        outcomes(m.outcomes, 0, m.sizes.slots),
        exit_slots(m.exit_slots, 0, m.sizes.slots),
        block_slots(m.block_slots, 0, m.sizes.slots),
        block_first(m.block_first, 0, m.sizes.slots),
        exit_rows(m.exit_rows, 0, m.sizes.rows),
        entry_rows(m.entry_rows, 0, m.sizes.rows),
        block_rows(m.block_rows, 0, m.sizes.rows),
        exit_depths(m.exit_depths, 0, m.sizes.rows),
        passes(m.passes, 0, m.sizes.rows),
        verdicts(m.verdicts, 0, m.sizes.ends) {}

  Span<ListCounts> counts;     // [1]
  Span<Outcome> outcomes;      // [slots]
  Span<uint32_t> exit_slots;   // [counts.exit_slots], in the order of selection
  Span<uint32_t> block_slots;  // [counts.block_slots]
  Span<uint32_t> block_first;  // [slots]: the slot's first block row
  Span<Row> exit_rows, entry_rows, block_rows;
  Span<uint32_t> exit_depths;  // [counts.exit_span_rows]: as StepResult::depths
  Span<uint32_t> passes;       // [counts.block_rows]: 1: the row takes the next recursion
  Span<Verdict> verdicts;      // [counts.logit_rows]
};

// The caps of one slot as CapAt takes them.
template <template <typename> typename Span>
struct CapsOfSlot {
  Span<DepthCap> ring;  // [max_caps]
  uint32_t first;
  uint32_t max_caps;
  RECURVE_HOST_DEVICE const DepthCap& operator[](uint32_t i) const {
    return ring[(first + i) % max_caps];
  }
};

// Most recursions that the token of `slot` at `position` may run.
template <template <typename> typename Span>
RECURVE_HOST_DEVICE uint32_t CapOfRow(const SlotTables<Span>& slots, const TableSizes& sizes,
                                      uint32_t slot, uint32_t position) {
  const CapRing ring = slots.cap_rings[slot];
  const CapsOfSlot<Span> caps = {slots.caps.Part(size_t{slot} * sizes.max_caps, sizes.max_caps),
                                 ring.first, sizes.max_caps};
  return CapAt(caps, ring.count, position, sizes.shape.recursions);
}

// Where page `index` of a slot's group stands in SlotTables::pages.
RECURVE_HOST_DEVICE inline size_t PageIndex(const TableSizes& sizes, uint32_t slot, uint32_t group,
                                            uint32_t index) {
  return (size_t{slot} * sizes.groups + group) * sizes.group_pages + index;
}

// An entry of a slot's group in the pool: its page, and which entry of the page it is.
struct EntryPlace {
  uint32_t page, entry;
};
template <template <typename> typename Span>
RECURVE_HOST_DEVICE EntryPlace PlaceOf(const SlotTables<Span>& slots, const TableSizes& sizes,
                                       uint32_t slot, uint32_t group, uint32_t entry) {
  const uint32_t per_page = sizes.page_entries[group];
  const uint32_t index = entry / per_page;
  // Beyond the table only by a wrong plan, which the host finds out later.
  const uint32_t last = sizes.group_pages - 1;
  return {slots.pages[PageIndex(sizes, slot, group, index < last ? index : last)],
          entry % per_page};
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_STEP_TABLES_H_
