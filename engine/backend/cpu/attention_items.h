// SPDX-License-Identifier: Apache-2.0
// How the attention of a batch is divided: into rows that attend together, and among threads.
#ifndef RECURVE_ENGINE_BACKEND_CPU_ATTENTION_ITEMS_H_
#define RECURVE_ENGINE_BACKEND_CPU_ATTENTION_ITEMS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/rows.h"

namespace recurve {

// Consecutive rows of one slot and recursion that attend together: each sees what the one before it
// sees, and more.
struct RowGroup : RowRange {
  bool same_entries;  // as the group before it: of the same slot and recursion
};

// The groups of `rows`, of at most `rows_together` rows each, in their order. One begins at row
// `boundary`, if there is such a row. Allocates nothing once `groups` has room for as many as rows.
void GroupRows(absl::Span<const Row> rows, uint32_t rows_together, uint32_t boundary,
               std::vector<RowGroup>& groups);

// A part of attention: rows that attend together, and query heads of one KV head.
struct AttentionItem {
  RowRange rows;
  uint32_t kv_head;
  uint32_t head_begin, head_end;  // of those of the KV head
};

struct AttentionHeads {
  uint32_t kv_heads;
  uint32_t of_each;  // query heads
};

// What falls to `thread` of `threads`, in an order in which items that read the same entries follow
// each other. Rows cost, for each query head, the entries that they see and something besides;
// threads get equal shares, cut between heads: what one row costs with one head cannot be divided,
// since that would change the order of its sums. Allocates nothing once `items` has room for as
// many as groups and KV heads.
void DealOutAttention(absl::Span<const Row> rows, absl::Span<const RowGroup> groups,
                      const AttentionHeads& heads, uint32_t thread, uint32_t threads,
                      std::vector<AttentionItem>& items);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_ATTENTION_ITEMS_H_
