// SPDX-License-Identifier: Apache-2.0
// The blocking, the layout and the ends of products in tiles, whether or not the machine has any:
// with emulated ones. linear_test.cc has the processor's, where it has them.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/linear_amx.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/base/float_env.h"
#include "tests/engine/backend/cpu/kernels/emulated_tiles.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"
#include "tests/engine/backend/cpu/kernels/linear_problem.h"

namespace recurve::amx {
namespace {

constexpr Epilogue kEpilogues[] = {Epilogue::kStore, Epilogue::kAdd, Epilogue::kSilu};

TEST(LinearAmxTest, EmulatedTilesGiveTheBitsOfScalar) {
  const ScopedFloatEnv env;
  uint32_t seed = 0;
  for (const Epilogue epilogue : kEpilogues) {
    for (const Range range : kAllRanges) {
      for (int i = 0; i < 12; ++i) {
        const Problem p(++seed, Precision::kBf16, epilogue, range);
        ASSERT_EQ(FirstDifference(p.RunAll(LinearInTiles<EmulatedTiles, Avx2Ends, Bf16>),
                                  p.RunAll(Isa::kScalar)),
                  -1)
            << "seed " << seed << " epilogue " << static_cast<int>(epilogue) << " " << Name(range);
      }
    }
  }
}

TEST(LinearAmxTest, EveryNumberOfRowsGivesTheBitsOfScalar) {
  const ScopedFloatEnv env;
  for (const Epilogue epilogue : kEpilogues) {
    const Problem p(3, Precision::kBf16, epilogue, Range::kDenormal, 70);
    const std::vector<float> scalar = p.RunAll(Isa::kScalar);
    for (uint32_t rows = 1; rows <= p.rows; ++rows) {
      // The last rows, so that what lies before them must stay as it was.
      const uint32_t first = p.rows - rows;
      std::vector<float> y = p.Initial();
      p.Run(LinearInTiles<EmulatedTiles, Avx2Ends, Bf16>, first, rows, 0, p.matrix.panels(), &y);
      std::vector<float> expected = p.Initial();
      std::copy(scalar.begin() + first * p.y_stride, scalar.end(),
                expected.begin() + first * p.y_stride);
      ASSERT_EQ(FirstDifference(y, expected), -1) << rows;
    }
  }
}

// Products in tiles of a thread that has learned `choices`.
template <typename Tiles, typename Element>
LinearFunction LinearWith(BlockingChoices* choices) {
  return [choices](LinearArgs args) {
    args.blockings = choices;
    LinearInTiles<Tiles, Avx2Ends, Element>(args);
  };
}

TEST(LinearAmxTest, EveryBlockingGivesTheBitsOfScalar) {
  const ScopedFloatEnv env;
  // Of two to eight tiles, the last of which is full or not.
  for (const uint32_t rows : {17, 33, 48, 49, 65, 80, 96, 97, 128}) {
    const Problem p(rows, Precision::kBf16, kEpilogues[rows % 3], Range::kNormal, rows);
    const std::vector<float> scalar = p.RunAll(Isa::kScalar);
    for (uint32_t best = 0; best < BlockingChoice::kBlockings; ++best) {
      BlockingChoices choices;
      choices.of_tiles.fill(BlockingChoice(best));
      const std::vector<float> y = p.RunAll(LinearWith<EmulatedTiles, Bf16>(&choices));
      EXPECT_EQ(FirstDifference(y, scalar), -1) << rows << " rows, blocking " << best;
    }
  }
}

// A clock and no more: what tiles cost beside a quiet or a busy neighbour.
struct TilesThatCost {
  struct Scope {
    Scope() {}  // so that a variable of it counts as used
  };
  static uint64_t Now() { return now; }
  template <int kTile>
  static void Zero() {}
  template <int kTile>
  static void Load(const void* /*rows*/, size_t /*stride*/) {
    now += kTile < cheap_names ? 4 : 12;
  }
  template <int kTile>
  static void Store(void* rows, size_t stride) {
    for (uint32_t row = 0; row < kTileRows; ++row) {
      std::memset(static_cast<std::byte*>(rows) + row * stride, 0, kTileRowBytes);
    }
  }
  template <typename Element, int kSum, int kA, int kB>
  static void Dot() {
    now += 7;
  }
  static inline uint64_t now = 0;
  static inline int cheap_names = 8;
};

TEST(LinearAmxTest, ThreadFindsTheFastestBlockingAgainAndAgain) {
  const Problem p(4, Precision::kBf16, Epilogue::kStore, Range::kNormal, 32);  // two tiles of rows
  ASSERT_GE(p.matrix.panels(), kGroupPanels) << "a product is at least one turn";
  BlockingChoices choices;
  const LinearFunction linear = LinearWith<TilesThatCost, Bf16>(&choices);
  const auto best_halves = [&] {
    for (uint32_t turn = 0; turn < 4 * BlockingChoice::kRestTurns; ++turn) p.RunAll(linear);
    return kTileBlockings[choices.of_tiles[TilesOf(p.rows) - 1].best()].halves;
  };
  for (int day = 0; day < 3; ++day) {
    TilesThatCost::cheap_names = 8;
    EXPECT_EQ(best_halves(), 2) << "quiet: two by two loads the fewest tiles";
    TilesThatCost::cheap_names = 4;
    EXPECT_EQ(best_halves(), 1) << "busy: two by one has the fewest names";
  }
}

// More rows than are packed together, and so passes; and panels that begin and end anywhere.
TEST(LinearAmxTest, ManyRowsByAnyPanelsGiveTheBitsOfScalar) {
  const ScopedFloatEnv env;
  for (const uint32_t rows : {kMaxTileRows, kMaxTileRows + 1, 2 * kMaxTileRows + 45}) {
    const Problem p(rows, Precision::kBf16, Epilogue::kAdd, Range::kNormal, rows);
    std::vector<float> y = p.Initial();
    for (uint32_t panel = 0; panel < p.matrix.panels(); panel += 3) {
      p.Run(LinearInTiles<EmulatedTiles, Avx2Ends, Bf16>, 0, rows, panel,
            std::min(panel + 3, p.matrix.panels()), &y);
    }
    EXPECT_EQ(FirstDifference(y, p.RunAll(Isa::kScalar)), -1) << rows;
  }
}

}  // namespace
}  // namespace recurve::amx

#endif  // __AVX2__
