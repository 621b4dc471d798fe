// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/batch.h"

#include "engine/backend/limits.h"

namespace recurve {

Batch::Batch(const BackendLimits& limits) : slots_(limits.slots), chunk_(limits.chunk) {
  rows_.reserve(MaxRows(limits));
  recursions_.reserve(kMaxGroups);
}

void Batch::Clear() {
  rows_.clear();
  recursions_.clear();
  logit_rows_ = query_rows_ = 0;
}

void Batch::Finish() {
  all_ = {0, size()};
  if (recursions_.empty() && size() > 0) recursions_.push_back(all_);
}

uint32_t Batch::HiddenRow(const Slot& slot, uint32_t id, uint32_t row) const {
  const bool lent = slot.InPrompt() && slot.area != kNoArea;
  return lent ? slots_ + slot.area * chunk_ + row : id;
}

void Batch::MakeEntry(const SlotTable& table, const std::vector<uint32_t>& slots) {
  Clear();
  const uint32_t group = table.shape().entry_group();
  for (const uint32_t id : slots) {
    const Slot& slot = table.slot(id);
    const uint32_t rows = SpanRows(slot.state, slot.limits);
    for (uint32_t i = 0; i < rows; ++i) {
      const uint32_t entry = slot.state.count[group] + i;
      rows_.push_back(
          {id, slot.state.position + i, HiddenRow(slot, id, i), 0, group, entry, entry + 1});
    }
  }
  Finish();
}

void Batch::AddExitRows(const SlotTable& table, uint32_t id, RowRange rows) {
  const Slot& slot = table.slot(id);
  const uint32_t group = table.shape().exit_group();
  for (uint32_t i = rows.begin; i < rows.end; ++i) {
    const uint32_t entry = slot.state.count[group] + i;
    rows_.push_back(
        {id, slot.state.position + i, HiddenRow(slot, id, i), 0, group, entry, entry + 1});
  }
}

void Batch::AddRowsWithoutLogits(const SlotTable& table, const std::vector<uint32_t>& slots,
                                 bool queries_count) {
  for (const uint32_t id : slots) {
    const Slot& slot = table.slot(id);
    if ((slot.eviction == EvictionPolicy::kAttention) != queries_count) continue;
    AddExitRows(table, id, {0, slot.state.rows - slot.LogitRows()});
  }
}

void Batch::MakeExit(const SlotTable& table, const std::vector<uint32_t>& slots, bool has_layers) {
  Clear();
  for (const uint32_t id : slots) {
    const Slot& slot = table.slot(id);
    AddExitRows(table, id, {slot.state.rows - slot.LogitRows(), slot.state.rows});
  }
  logit_rows_ = query_rows_ = size();
  if (has_layers) {
    // What these attend to counts, though nobody asks what comes of it.
    AddRowsWithoutLogits(table, slots, true);
    query_rows_ = size();
    AddRowsWithoutLogits(table, slots, false);
  }
  Finish();
}

void Batch::AddBlockSpan(const SlotTable& table, uint32_t id, bool overlay) {
  const Slot& slot = table.slot(id);
  const SlotState& state = slot.state;
  const uint32_t group = table.shape().group(state.recursion);
  const bool appends = table.shape().appends(state.recursion);
  // Where recursion 1's entries are read, those of the span are its last ones.
  const uint32_t read = overlay && state.recursion > 1 ? 1 : group;
  const uint32_t before_span = state.count[read] - (appends && read == group ? 0 : state.rows);
  for (uint32_t i = 0; i < state.active; ++i) {
    const uint32_t row = slot.active[i];
    const uint32_t entry = appends ? state.count[group] + i : kNoEntry;
    const uint32_t index = appends && read == group ? i : row;  // among those of the span
    rows_.push_back({id, state.position + row, HiddenRow(slot, id, row), state.recursion, group,
                     entry, before_span + index + 1});
  }
}

void Batch::MakeBlock(const SlotTable& table, const std::vector<uint32_t>& slots, bool overlay) {
  Clear();
  for (uint32_t recursion = 1; recursion <= table.shape().recursions; ++recursion) {
    const uint32_t begin = size();
    for (const uint32_t id : slots) {
      if (table.slot(id).state.recursion == recursion) AddBlockSpan(table, id, overlay);
    }
    if (size() > begin) recursions_.push_back({begin, size()});
  }
  Finish();
}

}  // namespace recurve
