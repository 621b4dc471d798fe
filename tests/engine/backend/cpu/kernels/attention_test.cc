// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/float_env.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"

namespace recurve {
namespace {

// What a tile holds of vectors of `dim` floats: numbers, and a factor for each vector.
struct Stored {
  Stored(Precision precision, uint32_t vector_dim, const std::vector<float>& vectors)
      : dim(vector_dim) {
    for (size_t first = 0; first < vectors.size(); first += dim) {
      float largest = 0.0F;
      bool finite = true;
      for (uint32_t d = 0; d < dim; ++d) {
        largest = std::max(largest, std::abs(vectors[first + d]));
        finite = finite && std::isfinite(vectors[first + d]);
      }
      const bool is_int8 = precision == Precision::kInt8;
      const bool zero = largest < 0x1p-100F || !finite;
      factors.push_back(!is_int8  ? 1.0F
                        : !finite ? std::numeric_limits<float>::quiet_NaN()
                        : zero    ? 0.0F
                                  : largest / 127.0F);
      for (uint32_t d = 0; d < dim; ++d) {
        const float x = vectors[first + d];
        const float whole = zero ? 0.0F : std::nearbyint(x * (127.0F / largest));
        numbers.push_back(is_int8 ? whole : RoundedTo(precision, x));
      }
    }
  }
  float operator()(uint32_t t, uint32_t d) const { return numbers[size_t{t} * dim + d]; }

  uint32_t dim;
  std::vector<float> numbers;
  std::vector<float> factors;  // 1 but for int8
};

// Query rows, one KV head, its entries in tiles whose spare lanes hold NaN.
struct Problem {
  Problem(uint32_t seed, Precision precision, Range range) {
    Random random(seed);
    constexpr uint32_t kHeadDims[] = {2, 8, 16, 20, 32, 64, 80, 96, 128};
    layout.precision = precision;
    layout.head_dim = kHeadDims[random.Int(0, 8)];
    heads = random.Int(1, 8);
    entries = random.Int(1, seed % 5 == 0 ? 300 : 100);
    rows = random.Int(1, 6);
    q = random.Floats(size_t{rows} * heads * layout.head_dim, range);
    // The last row sees all entries.
    visible.push_back(entries);
    while (visible.size() < rows) {
      visible.insert(visible.begin(), visible.front() - random.Int(0, visible.front() / 3));
    }
    keys = random.Floats(size_t{entries} * layout.head_dim, range);
    values = random.Floats(size_t{entries} * layout.head_dim, range);
    Store(std::numeric_limits<float>::quiet_NaN());
  }

  // Fills the tiles; lanes beyond the entries, and padded dimensions, hold `poison`.
  void Store(float poison) {
    const uint32_t count = (entries + kTileEntries - 1) / kTileEntries;
    memory.resize(count * layout.tile_bytes());
    const Bf16 narrow = FloatToBf16(poison);
    const size_t size = layout.precision == Precision::kBf16 ? 2 : 4;  // int8: of scales
    for (size_t at = 0; at < memory.size(); at += size) {
      std::memcpy(&memory[at], size == 2 ? static_cast<const void*>(&narrow) : &poison, size);
    }
    tiles.clear();
    for (uint32_t i = 0; i < count; ++i) tiles.push_back(&memory[i * layout.tile_bytes()]);
    for (uint32_t t = 0; t < entries; ++t) {
      StoreKv(layout, t % kTileEntries, &keys[size_t{t} * layout.head_dim],
              &values[size_t{t} * layout.head_dim],
              &memory[t / kTileEntries * layout.tile_bytes()]);
    }
  }

  // Rows [first, last) with all heads, each with the entries that it sees, of rows that lie apart;
  // `mass` [entries] is added to. [rows][heads][head_dim].
  std::vector<float> RunRows(Isa isa, uint32_t first, uint32_t last, uint64_t* mass) const {
    constexpr size_t kApart = 5;  // floats
    const size_t columns = size_t{heads} * layout.head_dim;
    std::vector<float> apart(rows * (columns + kApart));
    for (uint32_t row = 0; row < rows; ++row) {
      std::copy_n(&q[row * columns], columns, &apart[row * (columns + kApart)]);
    }
    std::vector<float> spaced((last - first) * (columns + kApart));
    std::vector<float> scratch(AttentionScratch(layout, visible[last - 1]));
    AttentionArgs args;
    args.layout = layout;
    args.rows = last - first;
    args.heads = heads;
    args.entries = &visible[first];
    args.q = &apart[first * (columns + kApart)];
    args.q_stride = columns + kApart;
    args.tiles = tiles.data();
    args.next = tiles.back();
    args.out = spaced.data();
    args.out_stride = columns + kApart;
    args.mass = mass;
    args.scratch = scratch.data();
    KernelsFor(isa).attention(args);
    std::vector<float> out;
    for (uint32_t row = 0; row < args.rows; ++row) {
      const auto begin = spaced.begin() + static_cast<ptrdiff_t>(row * (columns + kApart));
      out.insert(out.end(), begin, begin + static_cast<ptrdiff_t>(columns));
    }
    return out;
  }

  // Heads [begin, end) of the first row and the first `count` entries; [heads][head_dim].
  std::vector<float> Run(Isa isa, uint32_t begin, uint32_t end, uint32_t count) const {
    std::vector<float> out(size_t{end - begin} * layout.head_dim);
    std::vector<float> scratch(AttentionScratch(layout, count));
    AttentionArgs args;
    args.layout = layout;
    args.heads = end - begin;
    args.entries = &count;
    args.q = &q[size_t{begin} * layout.head_dim];
    args.tiles = tiles.data();
    args.out = out.data();
    args.scratch = scratch.data();
    KernelsFor(isa).attention(args);
    return out;
  }
  std::vector<float> Run(Isa isa) const { return Run(isa, 0, heads, entries); }

  Stored StoredKeys() const { return {layout.precision, layout.head_dim, keys}; }
  Stored StoredValues() const { return {layout.precision, layout.head_dim, values}; }

  // By the order that kernels.h writes.
  std::vector<float> Ordered() const {
    std::vector<float> out;
    const uint32_t dim = layout.head_dim;
    const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
    const Stored key = StoredKeys();
    const Stored value = StoredValues();
    for (uint32_t h = 0; h < heads; ++h) {
      std::vector<float> p(entries);
      float largest = -std::numeric_limits<float>::infinity();
      for (uint32_t t = 0; t < entries; ++t) {
        float chains[2] = {};
        for (uint32_t d = 0; d < dim; ++d) {
          chains[d % 2] = std::fma(q[size_t{h} * dim + d], key(t, d), chains[d % 2]);
        }
        p[t] = (chains[0] + chains[1]) * scale * key.factors[t];
        if (p[t] > largest) largest = p[t];
      }
      float lanes[16] = {};
      for (uint32_t t = 0; t < entries; ++t) lanes[t % 16] += p[t] = Exp(p[t] - largest);
      for (uint32_t l = 0; l < 8; ++l) lanes[l] += lanes[l + 8];
      for (uint32_t l = 0; l < 4; ++l) lanes[l] += lanes[l + 4];
      const float sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
      for (uint32_t d = 0; d < dim; ++d) {
        float chains[2] = {};
        for (uint32_t t = 0; t < entries; ++t) {
          chains[t % 2] = std::fma(p[t] * value.factors[t], value(t, d), chains[t % 2]);
        }
        out.push_back((chains[0] + chains[1]) * (1.0F / sum));
      }
    }
    return out;
  }

  PageLayout layout;
  uint32_t heads = 0;
  uint32_t entries = 0;
  uint32_t rows = 0;
  std::vector<uint32_t> visible;  // [rows], ascending: entries that each sees
  std::vector<float> q;           // [rows][heads][head_dim]
  std::vector<float> keys;        // [entries][head_dim]
  std::vector<float> values;      // [entries][head_dim]
  std::vector<std::byte> memory;
  std::vector<const std::byte*> tiles;
};

template <typename Test>
void ForProblems(uint32_t count, Test test) {
  const ScopedFloatEnv env;
  uint32_t seed = 0;
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    for (const Range range : kAllRanges) {
      for (uint32_t i = 0; i < count; ++i) {
        Problem problem(++seed, precision, range);
        SCOPED_TRACE(testing::Message()
                     << "seed " << seed << " " << PrecisionName(precision) << " " << Name(range)
                     << " dim " << problem.layout.head_dim << " heads " << problem.heads
                     << " entries " << problem.entries);
        test(problem, range);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(AttentionTest, ScalarKeepsTheWrittenOrder) {
  ForProblems(10, [](Problem& p, Range) {
    EXPECT_EQ(FirstDifference(p.Run(Isa::kScalar), p.Ordered()), -1);
  });
}

TEST(AttentionTest, EveryIsaGivesTheBitsOfScalar) {
  ForProblems(60, [](Problem& p, Range) {
    const std::vector<float> scalar = p.Run(Isa::kScalar);
    for (const Isa isa : SupportedIsas()) {
      EXPECT_EQ(FirstDifference(p.Run(isa), scalar), -1) << IsaName(isa);
    }
  });
}

TEST(AttentionTest, AgreesWithDouble) {
  ForProblems(40, [](Problem& p, Range range) {
    if (range != Range::kNormal) return;
    const std::vector<float> out = p.Run(BestIsa());
    const uint32_t dim = p.layout.head_dim;
    const Stored key = p.StoredKeys();
    const Stored value = p.StoredValues();
    for (uint32_t h = 0; h < p.heads; ++h) {
      std::vector<double> weights(p.entries);
      double sum = 0;
      for (uint32_t t = 0; t < p.entries; ++t) {
        double score = 0;
        for (uint32_t d = 0; d < dim; ++d) {
          score += double{p.q[size_t{h} * dim + d]} * key(t, d) * key.factors[t];
        }
        sum += weights[t] = std::exp(score / std::sqrt(static_cast<double>(dim)));
      }
      for (uint32_t d = 0; d < dim; ++d) {
        double expected = 0;
        for (uint32_t t = 0; t < p.entries; ++t) {
          expected += weights[t] / sum * value(t, d) * value.factors[t];
        }
        ASSERT_NEAR(out[size_t{h} * dim + d], expected, 4e-6) << "head " << h << " dim " << d;
      }
    }
  });
}

TEST(AttentionTest, SpareLanesHaveNoInfluence) {
  ForProblems(20, [](Problem& p, Range) {
    for (const Isa isa : SupportedIsas()) {
      const std::vector<float> with_nan = p.Run(isa);
      p.Store(0.0F);
      EXPECT_EQ(FirstDifference(with_nan, p.Run(isa)), -1);
      p.Store(-std::numeric_limits<float>::infinity());
      EXPECT_EQ(FirstDifference(with_nan, p.Run(isa)), -1);
      p.Store(std::numeric_limits<float>::quiet_NaN());
    }
  });
}

// Entries beyond those that a query may see are as good as not there.
TEST(AttentionTest, SeesTheFirstEntriesAlone) {
  ForProblems(20, [](Problem& p, Range) {
    const uint32_t all = p.entries;
    for (const uint32_t count : {1U, (all + 1) / 2, all}) {
      const std::vector<float> among_more = p.Run(BestIsa(), 0, p.heads, count);
      p.entries = count;
      p.Store(std::numeric_limits<float>::quiet_NaN());
      EXPECT_EQ(FirstDifference(among_more, p.Run(BestIsa())), -1);
      p.entries = all;
      p.Store(std::numeric_limits<float>::quiet_NaN());
    }
  });
}

// Of each row, whoever else is there: outputs and what it adds to the mass.
TEST(AttentionTest, RowsTogetherEqualRowsAlone) {
  ForProblems(60, [](Problem& p, Range) {
    std::vector<uint64_t> mass_alone(p.entries);
    std::vector<float> alone;
    for (uint32_t row = 0; row < p.rows; ++row) {
      const std::vector<float> one = p.RunRows(Isa::kScalar, row, row + 1, mass_alone.data());
      alone.insert(alone.end(), one.begin(), one.end());
    }
    for (const Isa isa : SupportedIsas()) {
      std::vector<uint64_t> mass(p.entries);
      EXPECT_EQ(FirstDifference(p.RunRows(isa, 0, p.rows, mass.data()), alone), -1) << IsaName(isa);
      if (std::none_of(alone.begin(), alone.end(), [](float x) { return std::isnan(x); })) {
        EXPECT_EQ(mass, mass_alone) << IsaName(isa);
      }
    }
  });
}

TEST(AttentionTest, HeadAloneEqualsHeadInGroup) {
  ForProblems(20, [](Problem& p, Range) {
    const std::vector<float> together = p.Run(BestIsa());
    std::vector<float> alone;
    for (uint32_t h = 0; h < p.heads; ++h) {
      const std::vector<float> one = p.Run(BestIsa(), h, h + 1, p.entries);
      alone.insert(alone.end(), one.begin(), one.end());
    }
    EXPECT_EQ(FirstDifference(alone, together), -1);
  });
}

}  // namespace
}  // namespace recurve
