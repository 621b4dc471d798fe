// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/attention_items.h"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

Row RowOf(uint32_t slot, uint32_t recursion, uint32_t visible) {
  Row row = {};
  row.slot = slot;
  row.recursion = recursion;
  row.visible = visible;
  return row;
}

// Generated rows and chunks of slots, whose rows see one entry more each, or some more.
std::vector<Row> RandomRows(std::mt19937& random) {
  std::vector<Row> rows;
  for (uint32_t slot = 0; slot < 1 + random() % 5; ++slot) {
    uint32_t visible = 1 + static_cast<uint32_t>(random() % 3000);
    const uint32_t count = random() % 3 == 0 ? 1 + static_cast<uint32_t>(random() % 40) : 1;
    const uint32_t most_apart = random() % 2 == 0 ? 1 : 7;
    for (uint32_t i = 0; i < count; ++i) {
      rows.push_back(RowOf(slot, 1, visible));
      visible += 1 + static_cast<uint32_t>(random() % most_apart);
    }
  }
  return rows;
}

TEST(AttentionItemsTest, GroupsAreOfOneSlotAndRecursion) {
  const std::vector<Row> rows = {RowOf(0, 1, 5),  RowOf(0, 1, 6),  RowOf(0, 1, 7),  RowOf(0, 1, 8),
                                 RowOf(0, 1, 9),  RowOf(2, 1, 10), RowOf(2, 2, 11), RowOf(2, 2, 27),
                                 RowOf(2, 2, 28), RowOf(2, 2, 3),  RowOf(2, 2, 4)};
  std::vector<RowGroup> groups;
  GroupRows(rows, 4, /*boundary=*/10, groups);
  std::vector<std::tuple<uint32_t, uint32_t, bool>> found;
  for (const RowGroup& group : groups)
    found.emplace_back(group.begin, group.end, group.same_entries);
  EXPECT_EQ(found, (std::vector<std::tuple<uint32_t, uint32_t, bool>>{{0, 4, false},
                                                                      {4, 5, true},
                                                                      {5, 6, false},
                                                                      {6, 7, false},
                                                                      {7, 9, true},
                                                                      {9, 10, false},
                                                                      {10, 11, false}}));
}

TEST(AttentionItemsTest, EveryRowAndHeadIsDealtOutOnceAndEvenly) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const std::vector<Row> rows = RandomRows(random);
    const AttentionHeads heads = {1 + static_cast<uint32_t>(random() % 4),
                                  1 + static_cast<uint32_t>(random() % 8)};
    const auto threads = 1 + static_cast<uint32_t>(random() % 5);
    std::vector<RowGroup> groups;
    GroupRows(rows, std::max(1U, 12 / heads.of_each), 0, groups);
    std::map<std::tuple<uint32_t, uint32_t, uint32_t>, int> dealt;  // row, KV head, head
    std::vector<uint64_t> costs;
    uint64_t most = 0;  // of what cannot be divided
    for (const RowGroup& group : groups) {
      const uint64_t cost = (group.end - group.begin) * (rows[group.end - 1].visible + 32);
      most = std::max<uint64_t>(most, cost);
    }
    std::vector<AttentionItem> items;
    for (uint32_t thread = 0; thread < threads; ++thread) {
      DealOutAttention(rows, groups, heads, thread, threads, items);
      uint64_t& cost = costs.emplace_back(0);
      for (const AttentionItem& item : items) {
        const uint32_t count = item.rows.end - item.rows.begin;
        cost += uint64_t{count} * (rows[item.rows.end - 1].visible + 32) *
                (item.head_end - item.head_begin);
        for (uint32_t row = item.rows.begin; row < item.rows.end; ++row) {
          for (uint32_t h = item.head_begin; h < item.head_end; ++h) {
            ++dealt[{row, item.kv_head, h}];
          }
        }
      }
    }
    EXPECT_EQ(dealt.size(), rows.size() * heads.kv_heads * heads.of_each);
    for (const auto& [what, times] : dealt) EXPECT_EQ(times, 1);
    const auto [least, largest] = std::minmax_element(costs.begin(), costs.end());
    EXPECT_LE(*largest - *least, 2 * most + threads);
  }
}

// One row with a long context keeps all threads busy.
TEST(AttentionItemsTest, OneRowIsDividedByHeads) {
  const std::vector<Row> rows = {RowOf(0, 1, 4096)};
  std::vector<RowGroup> groups;
  GroupRows(rows, 4, 0, groups);
  std::vector<AttentionItem> items;
  for (const uint32_t thread : {0U, 1U}) {
    DealOutAttention(rows, groups, {1, 8}, thread, 2, items);
    ASSERT_EQ(items.size(), 1U);
    EXPECT_EQ(items[0].head_begin, 4 * thread);
    EXPECT_EQ(items[0].head_end, 4 * thread + 4);
  }
}

}  // namespace
}  // namespace recurve
