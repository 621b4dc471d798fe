// SPDX-License-Identifier: Apache-2.0
// The rows of one stage of one step: from the slots' states to what each row reads and writes.
#ifndef RECURVE_ENGINE_BACKEND_CPU_BATCH_H_
#define RECURVE_ENGINE_BACKEND_CPU_BATCH_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/attention_items.h"
#include "engine/backend/rows.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"

namespace recurve {

// Memory is taken at construction and never grows. Thread-compatible.
class Batch {
 public:
  // At most `rows_together` rows attend together.
  Batch(const BackendLimits& limits, uint32_t rows_together);

  // Rows of `slots`, each of which waits for the stage in question. ENTRY: the span that begins.
  // EXIT: part by part; without layers rows without logits are left out. BLOCK: ordered by
  // recursion. Rows of one slot come in position order (EXIT: within each part).
  void MakeEntry(const SlotTable& table, const std::vector<uint32_t>& slots);
  void MakeExit(const SlotTable& table, const std::vector<uint32_t>& slots, bool has_layers);
  // `overlay`: recursions r > 1 attend to all entries of recursion 1, some of them replaced.
  void MakeBlock(const SlotTable& table, const std::vector<uint32_t>& slots, bool overlay);

  const std::vector<Row>& rows() const { return rows_; }
  uint32_t size() const { return static_cast<uint32_t>(rows_.size()); }
  // EXIT: leading rows whose logits are wanted.
  uint32_t logit_rows() const { return logit_rows_; }
  // EXIT: leading rows that attend in the last layer; the others only leave their entries there.
  uint32_t query_rows() const { return query_rows_; }
  // BLOCK: the rows of each recursion present. ENTRY and EXIT: the same as all().
  const std::vector<RowRange>& recursions() const { return recursions_; }
  // The groups that make up the leading `rows` rows: all of them, or query_rows().
  absl::Span<const RowGroup> groups(uint32_t rows) const;
  // All rows as one range; empty if there are none.
  absl::Span<const RowRange> all() const { return {&all_, rows_.empty() ? 0U : 1U}; }

 private:
  void Clear();
  void Finish();
  void AddExitPart(const SlotTable& table, const std::vector<uint32_t>& slots, ExitPart part);

  const HiddenLayout layout_;
  const uint32_t rows_together_;
  std::vector<Row> rows_;
  std::vector<RowRange> recursions_;
  std::vector<RowGroup> groups_;
  RowRange all_ = {0, 0};
  uint32_t logit_rows_ = 0;
  uint32_t query_rows_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_BATCH_H_
