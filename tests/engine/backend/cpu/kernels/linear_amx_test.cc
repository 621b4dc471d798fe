// SPDX-License-Identifier: Apache-2.0
// The blocking, the layout and the ends of products in tiles, whether or not the machine has any:
// with emulated ones. linear_test.cc has the processor's, where it has them.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/linear_amx.h"

#include <gtest/gtest.h>

#include <algorithm>
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
