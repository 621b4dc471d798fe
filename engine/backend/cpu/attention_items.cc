// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/attention_items.h"

#include <algorithm>

namespace recurve {
namespace {

// What the last row of a group sees beyond the first one is added for each row by itself.
constexpr uint32_t kMostBeyondFirst = 16;
// Entries that take as long as all else does for a row and a head.
constexpr uint64_t kBesides = 32;

// Of one query head.
uint64_t CostOf(absl::Span<const Row> rows, const RowRange& group) {
  return (group.end - group.begin) * (rows[group.end - 1].visible + kBesides);
}

}  // namespace

void GroupRows(absl::Span<const Row> rows, uint32_t rows_together, uint32_t boundary,
               std::vector<RowGroup>& groups) {
  groups.clear();
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const bool same = i > 0 && i != boundary && rows[i].slot == rows[i - 1].slot &&
                      rows[i].recursion == rows[i - 1].recursion &&
                      rows[i].visible > rows[i - 1].visible;
    if (same && i - groups.back().begin < rows_together &&
        rows[i].visible < rows[groups.back().begin].visible + kMostBeyondFirst) {
      ++groups.back().end;
    } else {
      groups.push_back({{i, i + 1}, same});
    }
  }
}

void DealOutAttention(absl::Span<const Row> rows, absl::Span<const RowGroup> groups,
                      const AttentionHeads& heads, uint32_t thread, uint32_t threads,
                      std::vector<AttentionItem>& items) {
  items.clear();
  uint64_t total = 0;
  for (const RowGroup& group : groups) total += CostOf(rows, group);
  total *= uint64_t{heads.kv_heads} * heads.of_each;
  const uint64_t begin = total * thread / threads;
  const uint64_t end = total * (thread + 1) / threads;
  uint64_t at = 0;
  for (size_t first = 0, last = 0; first < groups.size(); first = last) {
    for (last = first + 1; last < groups.size() && groups[last].same_entries;) ++last;
    for (uint32_t kv_head = 0; kv_head < heads.kv_heads; ++kv_head) {
      for (size_t g = first; g < last && at < end; ++g) {
        const uint64_t cost = CostOf(rows, groups[g]);
        const auto heads_before = [at, cost, &heads](uint64_t limit) {
          const uint64_t nearest = limit > at ? (limit - at + cost / 2) / cost : 0;
          return static_cast<uint32_t>(std::min<uint64_t>(nearest, heads.of_each));
        };
        const uint32_t from = heads_before(begin);
        const uint32_t to = heads_before(end);
        if (from < to) items.push_back({groups[g], kv_head, from, to});
        at += cost * heads.of_each;
      }
    }
  }
}

}  // namespace recurve
