// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/batch.h"

#include <algorithm>

#include "engine/backend/limits.h"

namespace recurve {

Batch::Batch(const BackendLimits& limits, uint32_t rows_together)
    : layout_{limits.slots, limits.chunk}, rows_together_(rows_together) {
  rows_.reserve(MaxRows(limits));
  groups_.reserve(MaxRows(limits));
  recursions_.reserve(kMaxGroups);
}

void Batch::Clear() {
  rows_.clear();
  recursions_.clear();
  groups_.clear();
  logit_rows_ = query_rows_ = 0;
}

void Batch::Finish() {
  all_ = {0, size()};
  if (recursions_.empty() && size() > 0) recursions_.push_back(all_);
  GroupRows(rows_, rows_together_, query_rows_, groups_);
}

absl::Span<const RowGroup> Batch::groups(uint32_t rows) const {
  const auto within = [rows](const RowGroup& group) { return group.end <= rows; };
  const auto end = std::partition_point(groups_.begin(), groups_.end(), within);
  return {groups_.data(), static_cast<size_t>(end - groups_.begin())};
}

void Batch::MakeEntry(const SlotTable& table, const std::vector<uint32_t>& slots) {
  Clear();
  const uint32_t group = table.shape().entry_group();
  for (const uint32_t id : slots) {
    const Slot& slot = table.slot(id);
    const uint32_t rows = SpanRows(slot.state, slot.limits);
    for (uint32_t i = 0; i < rows; ++i) rows_.push_back(EndRow(slot, id, i, group, layout_));
  }
  Finish();
}

void Batch::AddExitPart(const SlotTable& table, const std::vector<uint32_t>& slots, ExitPart part) {
  const uint32_t group = table.shape().exit_group();
  for (const uint32_t id : slots) {
    const Slot& slot = table.slot(id);
    const RowRange rows = ExitRows(slot, part);
    for (uint32_t i = rows.begin; i < rows.end; ++i) {
      rows_.push_back(EndRow(slot, id, i, group, layout_));
    }
  }
}

void Batch::MakeExit(const SlotTable& table, const std::vector<uint32_t>& slots, bool has_layers) {
  Clear();
  AddExitPart(table, slots, ExitPart::kLogits);
  logit_rows_ = query_rows_ = size();
  if (has_layers) {
    AddExitPart(table, slots, ExitPart::kQueries);
    query_rows_ = size();
    AddExitPart(table, slots, ExitPart::kEntries);
  }
  Finish();
}

void Batch::MakeBlock(const SlotTable& table, const std::vector<uint32_t>& slots, bool overlay) {
  Clear();
  for (uint32_t recursion = 1; recursion <= table.shape().recursions; ++recursion) {
    const uint32_t begin = size();
    for (const uint32_t id : slots) {
      const Slot& slot = table.slot(id);
      if (slot.state.recursion != recursion) continue;
      for (uint32_t i = 0; i < slot.state.active; ++i) {
        rows_.push_back(BlockRow(slot, id, i, slot.active[i], table.shape(), overlay, layout_));
      }
    }
    if (size() > begin) recursions_.push_back({begin, size()});
  }
  Finish();
}

}  // namespace recurve
