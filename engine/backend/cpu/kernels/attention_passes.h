// SPDX-License-Identifier: Apache-2.0
// What attention in AVX2 and AVX-512 share: how queries are taken together, and in which order the
// cache is read. For these two files.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_ATTENTION_PASSES_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_ATTENTION_PASSES_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "engine/backend/cpu/kernels/kernels_internal.h"

namespace recurve::avx2 {

// Elements of a tile that one vector of 16 entries or dimensions is made of, counted from its
// first. Two of bf16 lie together.
template <typename Element>
inline constexpr uint32_t kTogether = sizeof(Element) == sizeof(Bf16) ? 2 : 1;

template <typename Element>
inline constexpr bool kHasScales = sizeof(Element) == sizeof(int8_t);

// Tiles whose values all queries of a pass take before the next ones: 32 KiB in f32.
inline constexpr uint32_t kTilesTogether = 8;
// Tiles between the one at hand and the one that is fetched meanwhile.
inline constexpr uint32_t kTilesAhead = 2;

// Some queries, each of one row and head, that share registers.
struct QueryGroup {
  uint32_t queries = 0;
  const float* q = nullptr;  // [head_dim][queries]
  // Of each query: its row in AttentionArgs, what that sees, and 1 / the sum of its probabilities.
  std::array<uint32_t, kQueriesTogether> rows = {};
  std::array<uint32_t, kQueriesTogether> entries = {};
  std::array<float, kQueriesTogether> inverse = {};
  // [tiles][queries][16]: scores, then probabilities, then what the values' numbers are weighted by
  float* scores = nullptr;
  float* weighted = nullptr;  // [queries][2][padded_dim]: even and odd chains
};

// The scores of a group's queries with one tile's keys: minus infinity for what a query does not
// see.
struct ScoreArgs {
  const PageLayout* layout;
  const std::byte* tile;
  const std::byte* ahead;  // a tile that is fetched meanwhile
  const float* q;          // [head_dim][queries]
  const uint32_t* seen;    // [queries]: entries of the tile, from the first on
  float* scores;           // [queries][16]
  float* largest;          // [queries][16]: the largest of each lane so far
};

// Adds the values of entries [begin, end), weighted, to a group's chains; `begin` is even.
struct ValueArgs {
  const PageLayout* layout;
  const std::byte* const* tiles;
  uint32_t tile_count;    // of these, those behind `end` too
  const std::byte* next;  // fetched while the last tiles are worked on
  uint32_t begin;
  uint32_t end;
  const float* weights;  // of the first query, [tiles][stride], 16 of the tile's entries at first
  size_t stride;
  float* weighted;  // [queries][2][padded_dim]
};

// What to fetch while the values of tile `tile` are added: those some tiles later, or what comes
// behind the last ones.
inline const std::byte* ValuesAhead(const ValueArgs& args, uint32_t tile) {
  const uint32_t ahead = tile + kTilesAhead;
  return ahead < args.tile_count ? args.tiles[ahead] + args.layout->value_offset() : args.next;
}

// One function for each number of queries, at index queries - 1.
template <typename Args, size_t kMost>
using QueryFunctions = std::array<void (*)(const Args&), kMost>;

template <typename Isa, typename Element, uint32_t... kIndices>
constexpr QueryFunctions<ScoreArgs, sizeof...(kIndices)> ScoreFunctions(
    std::integer_sequence<uint32_t, kIndices...> /*indices*/) {
  return {Isa::template Scores<kIndices + 1, Element>...};
}
template <typename Isa, typename Element, uint32_t... kIndices>
constexpr QueryFunctions<ValueArgs, sizeof...(kIndices)> ValueFunctions(
    std::integer_sequence<uint32_t, kIndices...> /*indices*/) {
  return {Isa::template AddValues<kIndices + 1, Element>...};
}

// Attention of some queries, from their packing to their output.
template <typename Isa, typename Element>
class AttentionPass {
 public:
  // Queries [first, first + queries), counted row by row.
  AttentionPass(const AttentionArgs& args, uint32_t first, uint32_t queries) : args_(args) {
    const uint32_t groups = (queries + kMost - 1) / kMost;
    const uint32_t dim = args.layout.padded_dim();
    tiles_ = (args.entries[(first + queries - 1) / args.heads] + kTileEntries - 1) / kTileEntries;
    common_ = args.entries[first / args.heads] / 2 * 2;
    float* scratch = args.scratch;
    for (uint32_t g = 0; g < groups; ++g) {
      QueryGroup& group = groups_[group_count_++];
      const uint32_t begin = g * queries / groups;
      group.queries = (g + 1) * queries / groups - begin;
      group.q = scratch;
      Pack(first + begin, group, scratch);
      scratch += size_t{group.queries} * args.layout.head_dim;
      group.weighted = scratch;
      scratch += size_t{group.queries} * 2 * dim;
      group.scores = scratch;
      scratch += size_t{group.queries} * tiles_ * kTileEntries;
      first_[g] = first + begin;
    }
  }

  void Run() {
    Score();
    for (uint32_t g = 0; g < group_count_; ++g) Weigh(groups_[g]);
    AddValues();
    for (uint32_t g = 0; g < group_count_; ++g) Finish(g);
  }

 private:
  static constexpr uint32_t kMost = Isa::kQueries;
  static constexpr uint32_t kGroups = (kQueriesTogether + kMost - 1) / kMost;

  void Pack(uint32_t first, QueryGroup& group, float* packed) const {
    const uint32_t head_dim = args_.layout.head_dim;
    for (uint32_t i = 0; i < group.queries; ++i) {
      const uint32_t row = (first + i) / args_.heads;
      const uint32_t head = (first + i) % args_.heads;
      const float* const q = args_.q + row * args_.q_stride + size_t{head} * head_dim;
      for (uint32_t d = 0; d < head_dim; ++d) packed[d * group.queries + i] = q[d];
      group.rows[i] = row;
      group.entries[i] = args_.entries[row];
    }
  }

  void Score() {
    static constexpr auto kScores =
        ScoreFunctions<Isa, Element>(std::make_integer_sequence<uint32_t, kMost>());
    float largest[kGroups][kMost][kTileEntries];
    std::fill_n(&largest[0][0][0], sizeof(largest) / sizeof(float),
                -std::numeric_limits<float>::infinity());
    const size_t value_offset = args_.layout.value_offset();
    for (uint32_t tile = 0; tile < tiles_; ++tile) {
      // The last tiles of keys are followed by the first ones of values.
      const uint32_t ahead = tile + kTilesAhead;
      const std::byte* const fetched = ahead < tiles_ ? args_.tiles[ahead]
                                       : ahead - tiles_ < tiles_
                                           ? args_.tiles[ahead - tiles_] + value_offset
                                           : args_.tiles[tile];
      for (uint32_t g = 0; g < group_count_; ++g) {
        QueryGroup& group = groups_[g];
        uint32_t seen[kMost];
        for (uint32_t i = 0; i < group.queries; ++i) {
          const uint32_t before = tile * kTileEntries;
          seen[i] =
              group.entries[i] > before ? std::min(group.entries[i] - before, kTileEntries) : 0;
        }
        kScores[group.queries - 1]({&args_.layout, args_.tiles[tile], fetched, group.q, seen,
                                    group.scores + size_t{tile} * group.queries * kTileEntries,
                                    &largest[g][0][0]});
      }
    }
    for (uint32_t g = 0; g < group_count_; ++g) {
      QueryGroup& group = groups_[g];
      const size_t stride = size_t{group.queries} * kTileEntries;
      for (uint32_t i = 0; i < group.queries; ++i) {
        group.inverse[i] =
            Isa::Softmax(group.scores + i * kTileEntries, stride, tiles_, largest[g][i]);
      }
    }
  }

  // What becomes of probabilities beside the sum.
  void Weigh(QueryGroup& group) const {
    const size_t stride = size_t{group.queries} * kTileEntries;
    for (uint32_t i = 0; i < group.queries && args_.mass != nullptr; ++i) {
      for (uint32_t t = 0; t < group.entries[i]; t += kTileEntries) {
        AddMass(group.scores + t / kTileEntries * stride + i * kTileEntries,
                std::min(group.entries[i] - t, kTileEntries), group.inverse[i], args_.mass + t);
      }
    }
    if constexpr (kHasScales<Element>) {
      for (uint32_t tile = 0; tile < tiles_; ++tile) {
        const size_t offset = args_.layout.value_scale_offset();
        const auto* const scales = reinterpret_cast<const float*>(args_.tiles[tile] + offset);
        constexpr uint32_t kScalesAhead = 8;  // a line of each tile
        if (tile + kScalesAhead < tiles_) {
          __builtin_prefetch(args_.tiles[tile + kScalesAhead] + offset);
        }
        float* weights = group.scores + tile * stride;
        for (uint32_t i = 0; i < group.queries; ++i, weights += kTileEntries) {
          for (uint32_t t = 0; t < kTileEntries; ++t) weights[t] *= scales[t];
        }
      }
    }
  }

  void AddValues() {
    static constexpr auto kAddValues =
        ValueFunctions<Isa, Element>(std::make_integer_sequence<uint32_t, kMost>());
    const uint32_t dim = args_.layout.padded_dim();
    for (uint32_t g = 0; g < group_count_; ++g) {
      std::fill_n(groups_[g].weighted, size_t{groups_[g].queries} * 2 * dim, 0.0F);
    }
    ValueArgs values = {};
    values.layout = &args_.layout;
    values.tiles = args_.tiles;
    values.tile_count = tiles_;
    values.next = args_.next != nullptr ? args_.next : args_.tiles[0];
    // What all queries see, then what each sees beyond that. A weight of 0 is not the same as none:
    // it would change the sign of a zero, and an infinity to NaN.
    constexpr uint32_t kEntries = kTilesTogether * kTileEntries;
    for (values.begin = 0; values.begin < common_; values.begin = values.end) {
      values.end = std::min(common_, values.begin + kEntries);
      for (uint32_t g = 0; g < group_count_; ++g) {
        const QueryGroup& group = groups_[g];
        values.weights = group.scores;
        values.stride = size_t{group.queries} * kTileEntries;
        values.weighted = group.weighted;
        kAddValues[group.queries - 1](values);
      }
    }
    for (uint32_t g = 0; g < group_count_; ++g) {
      const QueryGroup& group = groups_[g];
      values.begin = common_;
      values.stride = size_t{group.queries} * kTileEntries;
      for (uint32_t i = 0; i < group.queries; ++i) {
        values.end = group.entries[i];
        values.weights = group.scores + i * kTileEntries;
        values.weighted = group.weighted + size_t{i} * 2 * dim;
        if (values.end > values.begin) kAddValues[0](values);
      }
    }
  }

  void Finish(uint32_t g) const {
    const QueryGroup& group = groups_[g];
    const uint32_t dim = args_.layout.padded_dim();
    const uint32_t head_dim = args_.layout.head_dim;
    for (uint32_t i = 0; i < group.queries; ++i) {
      const uint32_t head = (first_[g] + i) % args_.heads;
      float* const out = args_.out + group.rows[i] * args_.out_stride + size_t{head} * head_dim;
      const float* const even = group.weighted + size_t{i} * 2 * dim;
      const float* const odd = even + dim;
      for (uint32_t d = 0; d < head_dim; ++d) out[d] = (even[d] + odd[d]) * group.inverse[i];
    }
  }

  const AttentionArgs& args_;
  uint32_t tiles_ = 0;   // that the last query sees
  uint32_t common_ = 0;  // entries that all queries see, an even number
  uint32_t group_count_ = 0;
  std::array<QueryGroup, kGroups> groups_;
  std::array<uint32_t, kGroups> first_ = {};  // query of each group
};

template <typename Isa, typename Element>
void AttentionOf(const AttentionArgs& args) {
  const uint32_t queries = args.rows * args.heads;
  const uint32_t passes = (queries + kQueriesTogether - 1) / kQueriesTogether;
  for (uint32_t pass = 0; pass < passes; ++pass) {
    // Passes over nearly equal numbers of queries.
    const uint32_t begin = pass * queries / passes;
    const uint32_t end = (pass + 1) * queries / passes;
    AttentionPass<Isa, Element>(args, begin, end - begin).Run();
  }
}

// The whole of attention by an instruction set's Scores and AddValues, functions of a number of
// queries from 1 to Isa::kQueries, and Softmax.
template <typename Isa>
void AttentionInPasses(const AttentionArgs& args) {
  switch (args.layout.precision) {
    case Precision::kF32:
      return AttentionOf<Isa, float>(args);
    case Precision::kBf16:
      return AttentionOf<Isa, Bf16>(args);
    case Precision::kInt8:
      return AttentionOf<Isa, int8_t>(args);
  }
}

}  // namespace recurve::avx2

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_ATTENTION_PASSES_H_
