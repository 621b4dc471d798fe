// SPDX-License-Identifier: Apache-2.0
// The rules of a step, each written once: what waits where, which slots take part, and what each
// row reads and writes. Pure functions over words, compiled for host and device; the lists that
// they make are each backend's own.
#ifndef RECURVE_ENGINE_BACKEND_ROWS_H_
#define RECURVE_ENGINE_BACKEND_ROWS_H_

#include <cstdint>
#include <limits>
#include <type_traits>

#include "engine/backend/step.h"
#include "engine/base/host_device.h"
#include "engine/sampling/params.h"

namespace recurve {

inline constexpr uint32_t kNoEntry = std::numeric_limits<uint32_t>::max();

// What plans and steps have made of a slot, but for its lists.
struct SlotRecord {
  SlotState state;  // stage kNone: free or finished
  SlotLimits limits;
  SamplingParams sampling;
  uint32_t area = kNoArea;
  float threshold_logit = 0.0F;
  uint32_t logprobs = kNoLogprobs;
  uint32_t wants = 0;
  EvictionPolicy eviction = EvictionPolicy::kNone;
  uint32_t sinks = 0;
  uint32_t recent = 0;
};
static_assert(std::is_trivially_copyable_v<SlotRecord>);

RECURVE_HOST_DEVICE constexpr SlotRecord RecordOf(const Admission& admission) {
  return {admission.state,           admission.limits,   admission.sampling, admission.area,
          admission.threshold_logit, admission.logprobs, admission.wants,    admission.eviction,
          admission.sinks,           admission.recent};
}

// Most recursions that the token at `position` may run, by a slot's caps in ascending positions:
// caps[0 .. count) are DepthCaps.
template <typename Caps>
RECURVE_HOST_DEVICE constexpr uint32_t CapAt(const Caps& caps, uint32_t count, uint32_t position,
                                             uint32_t recursions) {
  uint32_t begin =
      0;  // the caps before it begin at `position` or before, those from `end` on later
  uint32_t end = count;
  while (begin < end) {
    const uint32_t middle = begin + (end - begin) / 2;
    if (caps[middle].position <= position) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  const bool has_cap = begin > 0 && caps[begin - 1].cap < recursions;
  return has_cap ? caps[begin - 1].cap : recursions;
}

// ---- Selection: which slots take part. StepPlan in step.h says the whole rule. ----

enum class RowKind : uint32_t { kGenerated, kPrompt };
inline constexpr uint32_t kRowKinds = 2;

RECURVE_HOST_DEVICE constexpr RowKind Other(RowKind kind) {
  return kind == RowKind::kGenerated ? RowKind::kPrompt : RowKind::kGenerated;
}

RECURVE_HOST_DEVICE constexpr bool InPrompt(const SlotRecord& slot) {
  return slot.state.position < slot.limits.prompt;
}

RECURVE_HOST_DEVICE constexpr RowKind KindOf(const SlotRecord& slot) {
  return InPrompt(slot) ? RowKind::kPrompt : RowKind::kGenerated;
}

// Rows of the span in flight whose logits somebody wants; the last ones of the span.
RECURVE_HOST_DEVICE constexpr uint32_t LogitRows(const SlotRecord& slot) {
  if (InPrompt(slot) && (slot.wants & kWantsPromptLogprobs) != 0) return slot.state.rows;
  return Samples(slot.state, slot.limits) ? 1 : 0;
}

// Of a slot: what it would run at a stage. Of a list: what is left of its caps.
struct RowCounts {
  uint32_t rows = 0;    // 0: the slot does not wait there, or is held at its room
  uint32_t logits = 0;  // rows with logits; at EXIT alone
};

RECURVE_HOST_DEVICE constexpr RowCounts NeedOf(const SlotRecord& slot, Stage stage) {
  if (slot.state.stage != stage) return {};
  switch (stage) {
    case Stage::kExit:
      return {slot.state.rows, LogitRows(slot)};
    case Stage::kEntry:
      return {SpanRows(slot.state, slot.limits), 0};
    case Stage::kBlock:
      return {slot.state.active, 0};
    case Stage::kNone:
      break;
  }
  return {};
}

// The caps of a step; StepPlan's members of the same names.
struct StepCaps {
  uint32_t ends = 0;
  uint32_t ends_min = 1;
  uint32_t block_rows = 0;
  uint32_t prompt_rows = 0;
};

// Whether EXIT, sampling and ENTRY run: `waiting` rows wait for EXIT or ENTRY, and slots for the
// block if `block_waits`. kEndsWhenBlockEmpty is more than any number of rows.
RECURVE_HOST_DEVICE constexpr bool EndsRun(const StepCaps& caps, uint64_t waiting,
                                           bool block_waits) {
  return caps.ends > 0 && (waiting >= caps.ends_min || !block_waits);
}

// The caps of a list when nothing has been taken. At EXIT both lists take from one cap of logits.
RECURVE_HOST_DEVICE constexpr RowCounts CapsOf(const StepCaps& caps, Stage stage, RowKind kind) {
  const uint32_t generated = stage == Stage::kBlock ? caps.block_rows : caps.ends;
  return {kind == RowKind::kPrompt ? caps.prompt_rows : generated, caps.ends};
}

RECURVE_HOST_DEVICE constexpr bool Fits(const RowCounts& need, const RowCounts& left) {
  return need.rows <= left.rows && need.logits <= left.logits;
}

// Where lists begin: what a backend keeps from step to step.
struct SelectionState {
  uint32_t cursor[4][kRowKinds] = {};           // by Stage and RowKind: the first slot to look at
  RowKind first_at_exit = RowKind::kGenerated;  // the list made first at EXIT
};
static_assert(std::is_trivially_copyable_v<SelectionState>);

// ---- Rows ----

// One row of a stage: what it reads and writes.
struct Row {
  uint32_t slot;
  uint32_t position;
  uint32_t hidden;     // its hidden row
  uint32_t recursion;  // BLOCK: counted from 1; else 0
  uint32_t group;    // of the entry that it appends; without one, of the entries that it attends to
  uint32_t entry;    // index in `group` of the entry that it appends; kNoEntry: none
  uint32_t visible;  // entries that it attends to, its own included; with an overlay those of
                     // recursion 1, of which overlay entries 0..entry replace some
};

// Consecutive rows.
struct RowRange {
  uint32_t begin, end;
};

// How hidden rows are counted: one a slot, then `chunk` an area.
struct HiddenLayout {
  uint32_t slots;
  uint32_t chunk;
};

// The hidden row of row `row` of the slot's span.
RECURVE_HOST_DEVICE constexpr uint32_t HiddenRow(const SlotRecord& slot, uint32_t id, uint32_t row,
                                                 const HiddenLayout& layout) {
  const bool lent = InPrompt(slot) && slot.area != kNoArea;
  return lent ? layout.slots + slot.area * layout.chunk + row : id;
}

// Row `row` of the slot's span at an end: at ENTRY of the span that begins, at EXIT of the span in
// flight. `group` is that end's.
RECURVE_HOST_DEVICE constexpr Row EndRow(const SlotRecord& slot, uint32_t id, uint32_t row,
                                         uint32_t group, const HiddenLayout& layout) {
  const uint32_t entry = slot.state.count[group] + row;
  return {id,       slot.state.position + row, HiddenRow(slot, id, row, layout), 0, group, entry,
          entry + 1};
}

// The index-th active row of the slot's span, which is the span's row `row`, in the block.
// `overlay`: recursions r > 1 attend to all entries of recursion 1, some of them replaced.
RECURVE_HOST_DEVICE constexpr Row BlockRow(const SlotRecord& slot, uint32_t id, uint32_t index,
                                           uint32_t row, const StepShape& shape, bool overlay,
                                           const HiddenLayout& layout) {
  const SlotState& state = slot.state;
  const uint32_t group = shape.group(state.recursion);
  const bool appends = shape.appends(state.recursion);
  const uint32_t read = overlay && state.recursion > 1 ? 1 : group;
  // Where recursion 1's entries are read, those of the span are its last ones.
  const bool reads_own = appends && read == group;
  const uint32_t visible =
      reads_own ? state.count[read] + index + 1 : state.count[read] - state.rows + row + 1;
  return {id,
          state.position + row,
          HiddenRow(slot, id, row, layout),
          state.recursion,
          group,
          appends ? state.count[group] + index : kNoEntry,
          visible};
}

// The order of rows at EXIT: these parts one after the other, each slot by slot in the order of
// selection.
enum class ExitPart : uint32_t {
  kLogits,   // rows whose logits are wanted
  kQueries,  // others whose attention counts, though nobody asks what comes of it: those of slots
             // that evict by attention
  kEntries,  // others, which leave their entries and do not attend in the last layer
};

// The rows of the slot's span that belong to a part.
RECURVE_HOST_DEVICE constexpr RowRange ExitRows(const SlotRecord& slot, ExitPart part) {
  const uint32_t first_logit = slot.state.rows - LogitRows(slot);
  if (part == ExitPart::kLogits) return {first_logit, slot.state.rows};
  const bool queries_count = slot.eviction == EvictionPolicy::kAttention;
  return {0, queries_count == (part == ExitPart::kQueries) ? first_logit : 0};
}

// Whether the next token is sampled from the row with logits at `position`.
RECURVE_HOST_DEVICE constexpr bool SamplesRow(const SlotRecord& slot, uint32_t position) {
  return position + 1 == slot.state.position + slot.state.rows && Samples(slot.state, slot.limits);
}

// Whether the log probability of the given token after the row at `position` is wanted.
RECURVE_HOST_DEVICE constexpr bool WantsGivenToken(const SlotRecord& slot, uint32_t position) {
  return (slot.wants & kWantsPromptLogprobs) != 0 && position + 1 < slot.limits.prompt;
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_ROWS_H_
