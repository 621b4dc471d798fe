// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/float_env.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"
#include "tests/engine/backend/cpu/kernels/linear_problem.h"

namespace recurve {
namespace {

TEST(LinearTest, ScalarKeepsTheWrittenOrder) {
  ForProblems(3, [](const Problem& p, Range) {
    std::vector<float> expected = p.Initial();
    for (uint32_t r = 0; r < p.rows; ++r) {
      for (uint32_t j = 0; j < p.columns; ++j) {
        float& y = expected[r * p.y_stride + j];
        const float product = p.Ordered(*p.first, r, j);
        if (p.epilogue == Epilogue::kSilu) {
          y = RoundedTo(p.precision, Silu(product) * p.Ordered(*p.second, r, j));
        } else {
          y = p.epilogue == Epilogue::kAdd ? y + product : product;
        }
      }
    }
    // Also that nothing beyond the outputs is written.
    EXPECT_EQ(FirstDifference(p.RunAll(Isa::kScalar), expected), -1);
  });
}

TEST(LinearTest, EveryIsaGivesTheBitsOfScalar) {
  ForProblems(12, [](const Problem& p, Range) {
    const std::vector<float> scalar = p.RunAll(Isa::kScalar);
    for (const Isa isa : SupportedIsas()) {
      EXPECT_EQ(FirstDifference(p.RunAll(isa), scalar), -1) << IsaName(isa);
    }
  });
}

TEST(LinearTest, EveryNumberOfRowsGivesTheBitsOfScalar) {
  const ScopedFloatEnv env;
  uint32_t seed = 0;
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kSilu}) {
      const Problem p(++seed, precision, epilogue, Range::kDenormal, 70);
      const std::vector<float> scalar = p.RunAll(Isa::kScalar);
      for (const Isa isa : SupportedIsas()) {
        for (uint32_t rows = 1; rows <= p.rows; ++rows) {
          std::vector<float> y = p.Initial();
          p.Run(isa, 0, rows, 0, p.matrix.panels(), &y);
          std::vector<float> expected = p.Initial();
          std::copy_n(scalar.begin(), (rows - 1) * p.y_stride + p.columns, expected.begin());
          y.resize((rows - 1) * p.y_stride + p.columns);
          expected.resize(y.size());
          ASSERT_EQ(FirstDifference(y, expected), -1) << IsaName(isa) << " " << rows;
        }
      }
    }
  }
}

TEST(LinearTest, AgreesWithDouble) {
  ForProblems(4, [](const Problem& p, Range range) {
    if (range != Range::kNormal || p.epilogue != Epilogue::kStore) return;
    const std::vector<float> y = p.RunAll(BestIsa());
    for (uint32_t r = 0; r < p.rows; ++r) {
      for (uint32_t j = 0; j < p.columns; ++j) {
        double magnitude;
        const double exact = p.Exact(*p.first, r, j, &magnitude);
        ASSERT_NEAR(y[r * p.y_stride + j], exact, 1e-6 * magnitude) << "row " << r << " of " << j;
      }
    }
  });
}

TEST(LinearTest, RowAloneEqualsRowInBatch) {
  ForProblems(2, [](const Problem& p, Range) { ExpectRowsAloneEqualBatch(p); });
}

TEST(LinearTest, AnyRowsByAnyPanelsEqualWhole) {
  ForProblems(4, [](const Problem& p, Range) { ExpectPartsEqualWhole(p); });
}

// More rows than are packed together, and wide enough that panels are taken in several bands.
TEST(LinearTest, BandsOfPanelsEqualScalar) {
  const ScopedFloatEnv env;
  Random random(11);
  const OwnedTensor weights(700, 900, random.Floats(size_t{700} * 900, Range::kNormal));
  const PackedMatrix matrix =
      *PackedMatrix::Pack({&weights.view, 1}, PackedMatrix::Order::kConcatenated, Precision::kBf16);
  constexpr uint32_t kRows = kMaxTileRows + 2;
  const std::vector<std::byte> x = Activations(random.Floats(kRows * 900, Range::kNormal), kRows,
                                               900, matrix.padded_inputs(), Precision::kBf16);
  std::vector<float> scratch(LinearScratch(matrix));
  const auto run = [&](Isa isa) {
    std::vector<float> y(kRows * 700);
    LinearArgs args;
    args.weights = &matrix;
    args.panel_end = matrix.panels();
    args.rows = kRows;
    args.x = x.data();
    args.x_stride = matrix.padded_inputs();
    args.y = y.data();
    args.y_stride = 700;
    args.scratch = scratch.data();
    KernelsFor(isa).linear(args);
    return y;
  };
  const std::vector<float> scalar = run(Isa::kScalar);
  for (const Isa isa : SupportedIsas()) {
    if (isa == Isa::kScalar) continue;
    EXPECT_EQ(FirstDifference(run(isa), scalar), -1) << IsaName(isa);
  }
}

}  // namespace
}  // namespace recurve
