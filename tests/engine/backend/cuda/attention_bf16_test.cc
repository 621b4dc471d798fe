// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/attention_bf16.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/attention_cache.h"
#include "tests/engine/backend/cuda/kernel_data.h"

namespace recurve::cuda {
namespace {

using testing::HasSubstr;

constexpr uint32_t kGroup = 1;
constexpr Way kUsual = {8, 2, true, 0};
// More blocks, fewer of them than rows, and other orders of threads.
constexpr Way kOthers[] = {{64, 20, false, 1}, {1, 1, true, 2}};

Attended RunOrFail(const AttentionCache& cache, const std::vector<Query>& queries,
                   const Way& way = kUsual) {
  absl::StatusOr<Attended> attended = cache.Run(queries, way);
  EXPECT_TRUE(attended.ok()) << attended.status();
  return attended.ok() ? *std::move(attended) : Attended();
}

// Weights and outputs are each rounded to bf16, by at most 2^-9 of what they are: the weights'
// errors come to at most 2^-9 of the largest value, since they weigh an average, and the output's
// own is no larger. Scores, sums and exponentials err by some 2^-20, for which there is a little
// more.
void ExpectNearExact(const AttentionCache& cache, const Query& query,
                     const std::vector<Bf16>& actual) {
  const std::vector<double> exact = cache.Exact(query);
  const double tolerance = 1.01 * 0x1p-8 * cache.LargestValue(query);
  ASSERT_EQ(actual.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    ASSERT_NEAR(Bf16ToFloat(actual[i]), exact[i], tolerance)
        << "element " << i << " of a row that sees " << query.row.visible << " entries";
  }
}

// ---- Values ----

class AttentionBf16Values : public testing::TestWithParam<uint32_t /* head_dim */> {};

TEST_P(AttentionBf16Values, AreNearTheExactOnes) {
  constexpr uint32_t kVisible[] = {1, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257, 300};
  uint32_t next = GetParam();  // so that each head size meets them in other places
  for (const uint32_t heads : {1, 3, 5, 8, 16, 17, 24}) {
    SCOPED_TRACE(absl::StrCat(heads, " heads share a KV head"));
    AttentionCache cache({.head_dim = GetParam(), .sharing_heads = heads}, heads);
    std::vector<Query> queries;
    for (uint32_t slot = 0; slot < AttentionCache::kSlots; ++slot) {
      const uint32_t visible = kVisible[next++ % std::size(kVisible)];
      cache.AppendFirst(slot, kGroup, visible);
      queries.push_back(cache.MakeQuery(slot, kGroup, visible));
    }
    const Attended attended = RunOrFail(cache, queries);
    for (size_t i = 0; i < attended.rows.size(); ++i) {
      ExpectNearExact(cache, queries[i], attended.rows[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllHeads, AttentionBf16Values,
                         testing::Values(8, 12, 20, 32, 64, 80, 96, 128),
                         testing::PrintToStringParamName());

TEST(AttentionBf16, ManyKvHeadsAndPagesOfAnySize) {
  for (const uint32_t page_entries : {1, 4, 16, 50}) {
    SCOPED_TRACE(absl::StrCat("pages of ", page_entries));
    AttentionCache cache({20, 3, 3, page_entries}, page_entries);
    cache.AppendFirst(0, kGroup, 51);
    const std::vector<Query> queries = {cache.MakeQuery(0, kGroup, 49),
                                        cache.MakeQuery(0, kGroup, 51)};
    const Attended attended = RunOrFail(cache, queries);
    for (size_t i = 0; i < attended.rows.size(); ++i) {
      ExpectNearExact(cache, queries[i], attended.rows[i]);
    }
  }
}

// A sharp softmax: the weights of all but a few entries vanish, whichever these are. Differences of
// scores are beyond what exp takes, were they not below the largest score so far.
TEST(AttentionBf16, OneEntryMayOutweighAllOthers) {
  AttentionCache cache({.head_dim = 32, .sharing_heads = 2}, 5);
  cache.AppendFirst(0, kGroup, 290);
  for (const float factor : {6.0F, 64.0F}) {
    Query query = cache.MakeQuery(0, kGroup, 290);
    for (Bf16& q : query.q) q = FloatToBf16(factor * Bf16ToFloat(q));
    ExpectNearExact(cache, query, RunOrFail(cache, {query}).rows.at(0));
  }
}

// Recursion 1's entries are seen, some of them as the row's recursion has updated them.
TEST(AttentionBf16, AnOverlayReplacesEntries) {
  for (const uint32_t heads : {1, 5, 17}) {
    AttentionCache cache({.head_dim = 20, .sharing_heads = heads, .overlay = true}, heads);
    const std::vector<uint32_t> updated = {3, 7, 8, 30, 38};
    std::vector<Query> queries;
    for (uint32_t slot = 0; slot < 2; ++slot) {
      cache.AppendFirst(slot, 1, 40);
      cache.Append(slot, 2, updated);
      for (const uint32_t entry : {1, 3, 4}) {
        Query query = cache.MakeQuery(slot, 2, updated[entry] + 1);
        query.row.recursion = 2;
        query.row.entry = entry;
        queries.push_back(query);
      }
    }
    cache.AppendFirst(2, 1, 40);
    Query first = cache.MakeQuery(2, 1, 40);
    first.row.recursion = 1;
    queries.insert(queries.begin(), first);
    const Attended attended = RunOrFail(cache, queries);
    for (size_t i = 0; i < attended.rows.size(); ++i) {
      ExpectNearExact(cache, queries[i], attended.rows[i]);
      ExpectSame(RunOrFail(cache, {queries[i]}, kOthers[i % 2]).rows.at(0), attended.rows[i]);
    }
  }
}

// ---- Bits ----

std::string NameOfSizes(const testing::TestParamInfo<AttentionSizes>& sizes) {
  return absl::StrCat("Of", sizes.param.head_dim, "Shared", sizes.param.sharing_heads);
}

// Rows of three slots: a prompt from its beginning, a span that crosses chunks of 256 entries, and
// a generated row.
struct Spans {
  explicit Spans(const AttentionSizes& sizes) : cache(sizes, sizes.head_dim) {
    const auto add = [this](uint32_t slot, uint32_t first, uint32_t last, std::vector<Query>* out) {
      cache.AppendFirst(slot, kGroup, last);
      for (uint32_t visible = first; visible <= last; ++visible) {
        out->push_back(cache.MakeQuery(slot, kGroup, visible));
      }
    };
    add(0, 1, 19, &prompt);
    add(1, 251, 261, &later);
    add(2, 33, 33, &generated);
  }
  AttentionCache cache;
  std::vector<Query> prompt, later, generated;
};

std::vector<Query> Joined(const std::vector<std::vector<Query>>& lists) {
  std::vector<Query> all;
  for (const std::vector<Query>& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<std::vector<Bf16>> Alone(const AttentionCache& cache,
                                     const std::vector<Query>& queries) {
  std::vector<std::vector<Bf16>> rows;
  for (const Query& query : queries) rows.push_back(RunOrFail(cache, {query}).rows.at(0));
  return rows;
}

class AttentionBf16Bits : public testing::TestWithParam<AttentionSizes> {};

TEST_P(AttentionBf16Bits, DependOnTheRowAlone) {
  Spans spans(GetParam());
  const std::vector<Query> all = Joined({spans.prompt, spans.later, spans.generated});
  const std::vector<std::vector<Bf16>> alone = Alone(spans.cache, all);
  for (size_t i = 0; i < all.size(); ++i) ExpectNearExact(spans.cache, all[i], alone[i]);
  const auto expect_alone = [&](const std::vector<size_t>& order, const Way& way) {
    std::vector<Query> queries;
    for (const size_t i : order) queries.push_back(all[i]);
    const Attended attended = RunOrFail(spans.cache, queries, way);
    for (size_t i = 0; i < attended.rows.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("row ", i, ", which is number ", order[i]));
      ExpectSame(attended.rows[i], alone[order[i]]);
    }
  };
  std::vector<size_t> order;
  for (size_t i = 0; i < all.size(); ++i) order.push_back(i);
  for (const Way& way : {kUsual, kOthers[0], kOthers[1]}) expect_alone(order, way);
  // The generated row first, and the spans the other way round.
  std::vector<size_t> moved = {all.size() - 1};
  for (size_t i = spans.prompt.size(); i + 1 < all.size(); ++i) moved.push_back(i);
  for (size_t i = 0; i < spans.prompt.size(); ++i) moved.push_back(i);
  expect_alone(moved, kUsual);
  // Without some rows, as routers leave them out.
  std::vector<size_t> some;
  for (size_t i = 0; i < all.size(); i += 1 + i % 3) some.push_back(i);
  expect_alone(some, kUsual);
}

// EXIT lists the rows whose logits are wanted before the others, of one slot too: its last row may
// stand right before its first ones.
TEST_P(AttentionBf16Bits, ARowMayStandBeforeEarlierOnesOfItsSlot) {
  Spans spans(GetParam());
  for (std::vector<Query>* span : {&spans.prompt, &spans.later}) {
    std::vector<Query> queries = *span;
    std::rotate(queries.begin(), queries.end() - 1, queries.end());
    const std::vector<std::vector<Bf16>> alone = Alone(spans.cache, queries);
    const Attended attended = RunOrFail(spans.cache, queries);
    for (size_t i = 0; i < attended.rows.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("row ", i));
      ExpectSame(attended.rows[i], alone[i]);
    }
  }
}

// ---- Attention mass ----

// Sums of shares that may each be cut to another unit: their weights' sum has another order.
void ExpectMass(const std::vector<uint64_t>& actual, const std::vector<uint64_t>& expected,
                uint64_t tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const uint64_t difference = std::max(actual[i], expected[i]) - std::min(actual[i], expected[i]);
    ASSERT_LE(difference, tolerance)
        << "element " << i << " is " << actual[i] << ", expected " << expected[i];
    ASSERT_EQ(actual[i] == 0, expected[i] == 0) << "element " << i;
  }
}

TEST_P(AttentionBf16Bits, MassIsThatOfJudgedRows) {
  Spans spans(GetParam());
  AttentionCache& cache = spans.cache;
  cache.SetEviction(0, EvictionPolicy::kAttention);
  cache.SetEviction(1, EvictionPolicy::kAttention);
  cache.SetEviction(2, EvictionPolicy::kWindow);
  // A row that reads what another recursion has appended judges nothing.
  cache.AppendFirst(0, 2, 20);
  spans.generated.push_back(cache.MakeQuery(0, 2, 20, /*has_entry=*/false));
  const std::vector<Query> all = Joined({spans.prompt, spans.later, spans.generated});
  const Attended attended = RunOrFail(cache, all);

  std::vector<uint64_t> expected(attended.mass.size());
  for (const Query& query : spans.prompt) cache.AddMass(query, &expected);
  for (const Query& query : spans.later) cache.AddMass(query, &expected);
  ExpectMass(attended.mass, expected, spans.prompt.size() * cache.heads());

  std::vector<uint64_t> alone(attended.mass.size());
  for (const Query& query : all) {
    const Attended one = RunOrFail(cache, {query});
    for (size_t i = 0; i < alone.size(); ++i) alone[i] += one.mass[i];
  }
  ExpectSame(attended.mass, alone);
  for (const Way& way : kOthers) ExpectSame(RunOrFail(cache, all, way).mass, attended.mass);
}

INSTANTIATE_TEST_SUITE_P(SomeHeads, AttentionBf16Bits,
                         testing::Values(AttentionSizes{12, 3}, AttentionSizes{64, 1, 2},
                                         AttentionSizes{80, 5}, AttentionSizes{32, 8},
                                         AttentionSizes{20, 17}, AttentionSizes{128, 24}),
                         NameOfSizes);

// ---- Over blocks ----

// Two, four and a block for each chunk, in other orders.
constexpr Way kSplits[] = {{8, 1, true, 0}, {1, 2, true, 3}, {8, 20, false, 4}};

// Whether blocks share entries is seen by what they leave for each other.
void ExpectSplit(const AttentionCache& cache, const std::vector<Query>& queries) {
  const absl::StatusOr<Attended> whole = cache.Run(queries, kUsual, /*may_split=*/false);
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (const Way& way : kSplits) {
    SCOPED_TRACE(absl::StrCat("on ", way.multiprocessors, " multiprocessors"));
    const Attended split = RunOrFail(cache, queries, way);
    ASSERT_EQ(split.rows.size(), whole->rows.size());
    for (size_t i = 0; i < split.rows.size(); ++i) ExpectSame(split.rows[i], whole->rows[i]);
    ExpectSame(split.mass, whole->mass);
    if (way.multiprocessors == 20 && whole->bytes_written.has_value()) {
      EXPECT_GT(split.bytes_written, whole->bytes_written);
    }
  }
}

class AttentionBf16OverBlocks : public testing::TestWithParam<AttentionSizes> {};

TEST_P(AttentionBf16OverBlocks, ARowHasTheBitsThatItHasInOne) {
  AttentionCache cache(GetParam(), 3);
  cache.AppendFirst(0, kGroup, AttentionCache::kMostEntries);
  for (const uint32_t visible : {257, 512, 513, 1000, 1100}) {
    SCOPED_TRACE(absl::StrCat(visible, " entries"));
    const Query query = cache.MakeQuery(0, kGroup, visible);
    ExpectSplit(cache, {query});
    ExpectNearExact(cache, query, RunOrFail(cache, {query}, kSplits[2]).rows.at(0));
  }
}

TEST_P(AttentionBf16OverBlocks, OneChunkIsNotSplit) {
  AttentionCache cache(GetParam(), 4);
  cache.AppendFirst(0, kGroup, 256);
  for (const uint32_t visible : {1, 255, 256}) {
    const std::vector<Query> query = {cache.MakeQuery(0, kGroup, visible)};
    const absl::StatusOr<Attended> whole = cache.Run(query, kUsual, /*may_split=*/false);
    ASSERT_TRUE(whole.ok()) << whole.status();
    const Attended split = RunOrFail(cache, query, kSplits[2]);
    ExpectSame(split.rows.at(0), whole->rows.at(0));
    EXPECT_EQ(split.bytes_written, whole->bytes_written);
  }
}

// Rows of one slot that share a block, rows with more and fewer chunks than others, and some that
// judge entries.
TEST_P(AttentionBf16OverBlocks, SoDoSeveralRowsAndTheMassOfTheirEntries) {
  AttentionCache cache(GetParam(), 5);
  cache.SetEviction(0, EvictionPolicy::kAttention);
  cache.SetEviction(2, EvictionPolicy::kAttention);
  std::vector<Query> queries;
  for (const auto& [slot, last] : {std::pair{0U, 770U}, {1U, 40U}, {2U, 514U}}) {
    cache.AppendFirst(slot, kGroup, last);
    for (uint32_t visible = last - 2; visible <= last; ++visible) {
      queries.push_back(cache.MakeQuery(slot, kGroup, visible));
    }
  }
  ExpectSplit(cache, queries);
}

INSTANTIATE_TEST_SUITE_P(SomeHeads, AttentionBf16OverBlocks,
                         testing::Values(AttentionSizes{12, 3}, AttentionSizes{64, 1, 2},
                                         AttentionSizes{80, 5}, AttentionSizes{128, 17}),
                         NameOfSizes);

// An overlay is looked up by each block for its own chunks.
TEST(AttentionBf16, AnOverlayIsSeenByBlocksThatShareARow) {
  AttentionCache cache({.head_dim = 20, .sharing_heads = 2, .overlay = true}, 6);
  cache.AppendFirst(0, 1, 600);
  const std::vector<uint32_t> updated = {3, 255, 256, 400, 598};
  cache.Append(0, 2, updated);
  Query query = cache.MakeQuery(0, 2, 599);
  query.row.recursion = 2;
  query.row.entry = 4;
  ExpectSplit(cache, {query});
  ExpectNearExact(cache, query, RunOrFail(cache, {query}, kSplits[2]).rows.at(0));
}

TEST(AttentionBf16, HeadsThatAreTooLargeAreRefused) {
  AttentionCache cache({.head_dim = 130}, 1);
  cache.AppendFirst(0, kGroup, 1);
  const absl::Status refused = cache.Run({cache.MakeQuery(0, kGroup, 1)}, kUsual).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("head_dim is 130"));
}

TEST(AttentionBf16, ThereMayBeNoRows) {
  AttentionCache cache({.head_dim = 16}, 1);
  EXPECT_TRUE(RunOrFail(cache, {}).rows.empty());
}

}  // namespace
}  // namespace recurve::cuda
