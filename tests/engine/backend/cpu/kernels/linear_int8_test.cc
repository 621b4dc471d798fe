// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/float_env.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"
#if defined(__AVX2__)
#include "engine/backend/cpu/kernels/linear_amx.h"
#include "tests/engine/backend/cpu/kernels/emulated_tiles.h"
#endif

namespace recurve {
namespace {

constexpr float kUntouched = 12345.0F;
constexpr Epilogue kEpilogues[] = {Epilogue::kStore, Epilogue::kAdd, Epilogue::kSilu};

// A row as whole numbers and a scale, by other means than arithmetic.h's.
struct Quantized {
  explicit Quantized(const std::vector<float>& x) : numbers(x.size()) {
    float largest = 0;
    bool finite = true;
    for (const float v : x) {
      largest = std::max(largest, std::abs(v));
      finite = finite && std::isfinite(v);
    }
    if (!finite) {
      scale = std::numeric_limits<float>::quiet_NaN();
    } else if (largest >= std::ldexp(1.0F, -100)) {
      scale = largest / 127;
      const float inverse = 127 / largest;
      for (size_t i = 0; i < x.size(); ++i) {
        numbers[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
      }
    }
  }
  std::vector<int8_t> numbers;
  float scale = 0;
};

// One random product: weights, activations, and a result to add to.
struct Problem {
  Problem(uint32_t seed, Epilogue e, Range range) : epilogue(e) {
    Random random(seed);
    rows = random.Int(1, 40);
    inputs = random.Int(1, 300);
    outputs = random.Int(1, 130);
    x = random.Floats(size_t{rows} * inputs, range);
    // A loaded model has no weights that are not finite.
    const Range weights = range == Range::kSpecial ? Range::kNormal : range;
    first = std::make_unique<OwnedTensor>(outputs, inputs,
                                          random.Floats(size_t{outputs} * inputs, weights));
    if (e == Epilogue::kSilu) {
      second = std::make_unique<OwnedTensor>(outputs, inputs,
                                             random.Floats(size_t{outputs} * inputs, weights));
      const Tensor parts[] = {first->view, second->view};
      matrix = *PackedMatrix::Pack(parts, PackedMatrix::Order::kInterleaved, Precision::kInt8);
      columns = RoundUp(outputs, kInterleave);
    } else {
      matrix = *PackedMatrix::Pack({&first->view, 1}, PackedMatrix::Order::kConcatenated,
                                   Precision::kInt8);
      columns = outputs;
    }
    y_stride = columns + random.Int(0, 5);
    residual = random.Floats(rows * y_stride, range);
    x_stride = matrix.padded_inputs() + random.Int(0, 40);
    quantized.resize(rows * x_stride);
    scales.resize(rows);
    for (uint32_t r = 0; r < rows; ++r) {
      const Quantized row(RowOf(x, r));
      std::copy(row.numbers.begin(), row.numbers.end(), &quantized[r * x_stride]);
      scales[r] = row.scale;
    }
  }

  std::vector<float> RowOf(const std::vector<float>& all, uint32_t row) const {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(size_t{row} * inputs);
    return {begin, begin + inputs};
  }

  // Runs rows [row, row + count) and panels [begin, end) into y.
  void Run(Isa isa, uint32_t row, uint32_t count, uint32_t begin, uint32_t end,
           std::vector<float>* y) const {
    Run(KernelsFor(isa).linear_int8, row, count, begin, end, y);
  }
  void Run(const LinearFunction& linear, uint32_t row, uint32_t count, uint32_t begin, uint32_t end,
           std::vector<float>* y) const {
    std::vector<float> scratch(LinearScratch(matrix));
    LinearArgs args;
    args.weights = &matrix;
    args.panel_begin = begin;
    args.panel_end = end;
    args.rows = count;
    args.x = &quantized[row * x_stride];
    args.x_stride = x_stride;
    args.x_scales = &scales[row];
    args.epilogue = epilogue;
    args.y = y->data() + row * y_stride;
    args.y_stride = y_stride;
    args.scratch = scratch.data();
    linear(args);
  }

  std::vector<float> Initial() const {
    return epilogue == Epilogue::kAdd ? residual : std::vector<float>(rows * y_stride, kUntouched);
  }
  std::vector<float> RunAll(Isa isa) const { return RunAll(KernelsFor(isa).linear_int8); }
  std::vector<float> RunAll(const LinearFunction& linear) const {
    std::vector<float> y = Initial();
    Run(linear, 0, rows, 0, matrix.panels(), &y);
    return y;
  }

  // Row times output as arithmetic.h says, from the unpacked weights. An output beyond the last is
  // padding.
  float Product(const OwnedTensor& w, uint32_t row, uint32_t output) const {
    const Quantized weights(output < outputs ? RowOf(w.values, output)
                                             : std::vector<float>(inputs));
    int64_t sum = 0;
    for (uint32_t k = 0; k < inputs; ++k) {
      sum += int64_t{quantized[row * x_stride + k]} * weights.numbers[k];
    }
    return static_cast<float>(sum) * scales[row] * weights.scale;
  }

  Epilogue epilogue;
  uint32_t rows = 0;
  uint32_t inputs = 0;
  uint32_t outputs = 0;
  uint32_t columns = 0;  // of y
  size_t y_stride = 0;
  size_t x_stride = 0;
  std::vector<float> x;           // [rows][inputs]
  std::vector<float> residual;    // [rows][y_stride]
  std::vector<int8_t> quantized;  // [rows][x_stride]
  std::vector<float> scales;      // [rows]
  std::unique_ptr<OwnedTensor> first;
  std::unique_ptr<OwnedTensor> second;
  PackedMatrix matrix;
};

// Calls test(problem) for random problems of every kind.
template <typename Test>
void ForProblems(uint32_t count, Test test) {
  const ScopedFloatEnv env;
  uint32_t seed = 0;
  for (const Epilogue epilogue : kEpilogues) {
    for (const Range range : kAllRanges) {
      for (uint32_t i = 0; i < count; ++i) {
        SCOPED_TRACE(testing::Message() << "seed " << ++seed << " epilogue "
                                        << static_cast<int>(epilogue) << " " << Name(range));
        test(Problem(seed, epilogue, range));
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(LinearInt8Test, ScalarIsAsDefined) {
  ForProblems(3, [](const Problem& p) {
    std::vector<float> expected = p.Initial();
    for (uint32_t r = 0; r < p.rows; ++r) {
      for (uint32_t j = 0; j < p.columns; ++j) {
        float& y = expected[r * p.y_stride + j];
        const float product = p.Product(*p.first, r, j);
        if (p.epilogue == Epilogue::kSilu) {
          y = Silu(product) * p.Product(*p.second, r, j);
        } else {
          y = p.epilogue == Epilogue::kAdd ? y + product : product;
        }
      }
    }
    // Also that nothing beyond the outputs is written.
    EXPECT_EQ(FirstDifference(p.RunAll(Isa::kScalar), expected), -1);
  });
}

TEST(LinearInt8Test, EveryIsaGivesTheBitsOfScalar) {
  ForProblems(20, [](const Problem& p) {
    const std::vector<float> scalar = p.RunAll(Isa::kScalar);
    for (const Isa isa : SupportedIsas()) {
      EXPECT_EQ(FirstDifference(p.RunAll(isa), scalar), -1) << IsaName(isa);
    }
  });
}

#if defined(__AVX2__)
TEST(LinearInt8Test, EmulatedTilesGiveTheBitsOfScalar) {
  uint32_t problems = 0;
  ForProblems(10, [&](const Problem& p) {
    BlockingChoices choices;
    choices.of_tiles.fill(BlockingChoice(problems++ % BlockingChoice::kBlockings));
    const auto in_tiles = [&](LinearArgs args) {
      args.blockings = &choices;
      amx::LinearInTiles<amx::EmulatedTiles, amx::Avx2Ends, int8_t>(args);
    };
    EXPECT_EQ(FirstDifference(p.RunAll(in_tiles), p.RunAll(Isa::kScalar)), -1);
    // By panels that begin and end anywhere, and rows that do.
    const uint32_t row = p.rows / 3;
    const uint32_t panel = p.matrix.panels() / 2;
    std::vector<float> expected = p.Initial();
    std::vector<float> y = expected;
    p.Run(Isa::kScalar, row, p.rows - row, panel, p.matrix.panels(), &expected);
    p.Run(in_tiles, row, p.rows - row, panel, p.matrix.panels(), &y);
    EXPECT_EQ(FirstDifference(y, expected), -1);
  });
}
#endif

TEST(LinearInt8Test, RowAloneEqualsRowInBatch) {
  ForProblems(2, [](const Problem& p) { ExpectRowsAloneEqualBatch(p); });
}

TEST(LinearInt8Test, AnyRowsByAnyPanelsEqualWhole) {
  ForProblems(4, [](const Problem& p) { ExpectPartsEqualWhole(p); });
}

// As many inputs as there may be, each product the largest: both ends of what a sum can be. Every
// number of rows that some pass has.
TEST(LinearInt8Test, LargestSumsAreExact) {
  const ScopedFloatEnv env;
  constexpr uint32_t kRows = 12;  // of a pass
  std::vector<float> values(size_t{2} * kMaxInt8Inputs, 1.0F);
  std::fill_n(&values[kMaxInt8Inputs], kMaxInt8Inputs, -1.0F);
  const OwnedTensor w(2, kMaxInt8Inputs, values);
  const PackedMatrix matrix =
      *PackedMatrix::Pack({&w.view, 1}, PackedMatrix::Order::kConcatenated, Precision::kInt8);
  const std::vector<int8_t> x(size_t{kRows} * kMaxInt8Inputs, 127);
  const std::vector<float> scales(kRows, 1.0F);
  std::vector<float> scratch(LinearScratch(matrix));
  const float expected = Int8Product(127 * 127 * int32_t{kMaxInt8Inputs}, 1.0F, 1.0F / 127);
  for (const Isa isa : SupportedIsas()) {
    for (uint32_t rows = 1; rows <= kRows; ++rows) {
      std::vector<float> y(size_t{kRows} * 2);
      LinearArgs args;
      args.weights = &matrix;
      args.panel_end = matrix.panels();
      args.rows = rows;
      args.x = x.data();
      args.x_stride = kMaxInt8Inputs;
      args.x_scales = scales.data();
      args.y = y.data();
      args.y_stride = 2;
      args.scratch = scratch.data();
      KernelsFor(isa).linear_int8(args);
      for (uint32_t r = 0; r < rows; ++r) {
        EXPECT_EQ(y[2 * r], expected) << IsaName(isa) << " " << r << " of " << rows;
        EXPECT_EQ(y[2 * r + 1], -expected) << IsaName(isa) << " " << r << " of " << rows;
      }
    }
  }
}

// Wide enough that panels are taken in several bands.
TEST(LinearInt8Test, BandsOfPanelsEqualScalar) {
  const ScopedFloatEnv env;
  Random random(11);
  constexpr uint32_t kInputs = 1500, kOutputs = 1300, kRows = 26;
  const OwnedTensor w(kOutputs, kInputs, random.Floats(size_t{kOutputs} * kInputs, Range::kNormal));
  const PackedMatrix matrix =
      *PackedMatrix::Pack({&w.view, 1}, PackedMatrix::Order::kConcatenated, Precision::kInt8);
  std::vector<int8_t> x(size_t{kRows} * matrix.padded_inputs());
  std::vector<float> scales(kRows);
  for (uint32_t r = 0; r < kRows; ++r) {
    const std::vector<float> row = random.Floats(kInputs, Range::kNormal);
    scales[r] = QuantizeRow(row.data(), kInputs, &x[size_t{r} * matrix.padded_inputs()]);
  }
  std::vector<float> scratch(LinearScratch(matrix));
  const auto run = [&](Isa isa) {
    std::vector<float> y(size_t{kRows} * kOutputs);
    LinearArgs args;
    args.weights = &matrix;
    args.panel_end = matrix.panels();
    args.rows = kRows;
    args.x = x.data();
    args.x_stride = matrix.padded_inputs();
    args.x_scales = scales.data();
    args.y = y.data();
    args.y_stride = kOutputs;
    args.scratch = scratch.data();
    KernelsFor(isa).linear_int8(args);
    return y;
  };
  for (const Isa isa : SupportedIsas()) {
    EXPECT_EQ(FirstDifference(run(isa), run(Isa::kScalar)), -1) << IsaName(isa);
  }
}

}  // namespace
}  // namespace recurve
