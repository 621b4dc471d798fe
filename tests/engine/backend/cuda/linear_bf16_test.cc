// SPDX-License-Identifier: Apache-2.0
// The products of --precision=bf16 against naive ones, bit for bit; ProjectQkv has a file of its
// own.
#include "engine/backend/cuda/linear_bf16.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/host_product.h"
#include "tests/engine/backend/cuda/kernel_data.h"
#include "tests/engine/backend/cuda/kernel_device.h"

namespace recurve::cuda {
namespace {

// Launches for 8, 16, 32 and 64 rows have tiles of as many rows; a device with few multiprocessors
// has tiles of 32 outputs instead of 16.
constexpr Way kWays[] = {{8, 200, true, 0},  {8, 1, false, 1},    {16, 200, true, 1},
                         {16, 1, false, 0},  {32, 200, false, 1}, {32, 1, true, 0},
                         {64, 200, true, 1}, {64, 1, false, 0}};

using Launch = std::function<void(Runtime&, const ProductShape&)>;

void ForEachWay(const Launch& launch) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(
        absl::StrCat("cut for ", way.rows, " rows on ", way.multiprocessors, " multiprocessors"));
    const std::unique_ptr<KernelDevice> device = MakeKernelDevice(way);
    launch(device->runtime(), {way.rows, way.programmatic});
    EXPECT_EQ(device->reports(), std::vector<std::string>());
    if (testing::Test::HasFailure()) return;
  }
}

// ---- Head: the sums themselves ----

void ExpectHead(const ProductSizes& sizes) {
  SCOPED_TRACE(
      absl::StrCat(sizes.inputs, " inputs, ", sizes.outputs, " outputs, ", sizes.rows, " rows"));
  const HostProduct product(sizes, sizes.inputs);
  std::vector<float> expected(size_t{sizes.rows + 1} * sizes.outputs, kUntouched);
  const std::vector<float> before = expected;
  for (uint32_t row = 0; row < sizes.rows; ++row) {
    for (uint32_t o = 0; o < sizes.outputs; ++o) {
      expected[size_t{row} * sizes.outputs + o] = product.At(row, o);
    }
  }
  ForEachWay([&](Runtime& runtime, const ProductShape& shape) {
    const DeviceMemory logits = Uploaded(runtime, "logits", before);
    HeadBf16Args args;
    args.product = product.Upload(runtime);
    args.outputs = sizes.outputs;
    args.logits = All<simt::Out, float>(logits);
    ASSERT_EQ(LaunchHead(runtime, shape, args), absl::OkStatus());
    ExpectSame(Downloaded<float>(runtime, logits), expected);
  });
}

TEST(LinearBf16, SumsOfAnyNumberOfInputs) {
  for (const uint32_t inputs : {1, 15, 16, 17, 40, 127, 128, 129, 130, 960}) {
    ExpectHead({.inputs = inputs, .outputs = 37, .rows = 9});
  }
}

TEST(LinearBf16, SumsOfNormedRows) {
  for (const uint32_t inputs : {1, 17, 130, 600}) {
    ExpectHead({.inputs = inputs, .outputs = 19, .rows = 10, .has_norm = true});
  }
}

TEST(LinearBf16, AnyNumberOfRows) {
  for (const uint32_t rows : {0, 1, 7, 8, 9, 31, 32, 33, 65}) {
    ExpectHead({.inputs = 40, .outputs = 50, .rows = rows, .has_norm = true});
  }
}

TEST(LinearBf16, AnyNumberOfOutputs) {
  for (const uint32_t outputs : {1, 8, 16, 32, 33}) {
    ExpectHead({.inputs = 24, .outputs = outputs, .rows = 3});
  }
}

TEST(LinearBf16, WeightsOfEachRecursion) {
  const std::vector<std::vector<uint32_t>> all = {{5, 0, 12}, {0, 0, 9},   {7, 0, 0},
                                                  {0, 0, 0},  {33, 31, 1}, {8, 40}};
  for (const std::vector<uint32_t>& recursions : all) {
    uint32_t rows = 0;
    for (const uint32_t of_recursion : recursions) rows += of_recursion;
    ExpectHead(
        {.inputs = 40, .outputs = 40, .rows = rows, .has_norm = true, .recursions = recursions});
  }
}

// ---- AddProduct ----

// The residual stream and what the next norm needs, with a row behind the last one.
struct Residual {
  Residual(uint32_t hidden, uint32_t rows)
      : x(size_t{rows + 1} * hidden, kUntouched),
        operand(OperandElements(rows + 1, hidden), kUntouchedBf16),
        squares(size_t{rows + 1} * SquaresOf(hidden), kUntouched) {}
  std::vector<float> x;
  std::vector<Bf16> operand;
  std::vector<float> squares;
};

void ExpectAddProduct(const ProductSizes& sizes) {
  SCOPED_TRACE(absl::StrCat(sizes.inputs, " inputs, hidden ", sizes.outputs));
  const uint32_t hidden = sizes.outputs;
  const HostProduct product(sizes, sizes.rows);
  Numbers numbers(3);
  const std::vector<float> gamma = numbers.Floats(hidden, 1.0F);
  Residual before(hidden, sizes.rows);
  for (size_t i = 0; i < size_t{sizes.rows} * hidden; ++i) before.x[i] = numbers.Float(2.0F);
  Residual after = before;
  for (uint32_t row = 0; row < sizes.rows; ++row) {
    for (uint32_t tile = 0; tile < StepsOf(hidden); ++tile) {
      float squares[8] = {};
      for (uint32_t column = tile * 16; column < std::min(hidden, tile * 16 + 16); ++column) {
        float& x = after.x[size_t{row} * hidden + column];
        x += product.At(row, column);
        after.operand[OperandIndex(row, column, StepsOf(hidden))] = FloatToBf16(x * gamma[column]);
        squares[column % 8] = Fma(x, x, squares[column % 8]);
      }
      after.squares[size_t{row} * SquaresOf(hidden) + tile] = TreeOfEight(squares);
    }
  }
  ForEachWay([&](Runtime& runtime, const ProductShape& shape) {
    const DeviceMemory x = Uploaded(runtime, "x", before.x);
    const DeviceMemory operand = Uploaded(runtime, "operand", before.operand);
    const DeviceMemory squares = Uploaded(runtime, "squares", before.squares);
    AddProductBf16Args args;
    args.product = product.Upload(runtime);
    args.residual.hidden = hidden;
    args.residual.gamma = Give<simt::Constant, float>(runtime, "gamma", gamma);
    args.residual.x = All<simt::Out, float>(x);
    args.residual.operand = All<simt::Out, Bf16>(operand);
    args.residual.squares = All<simt::Out, float>(squares);
    ASSERT_EQ(LaunchAddProduct(runtime, shape, args), absl::OkStatus());
    ExpectSame(Downloaded<float>(runtime, x), after.x);
    ExpectSame(Downloaded<Bf16>(runtime, operand), after.operand);
    ExpectSame(Downloaded<float>(runtime, squares), after.squares);
  });
}

TEST(LinearBf16, AddProductLeavesWhatTheNextNormNeeds) {
  ExpectAddProduct({.inputs = 40, .outputs = 37, .rows = 9});
  ExpectAddProduct({.inputs = 9, .outputs = 37, .rows = 12});
  ExpectAddProduct({.inputs = 130, .outputs = 64, .rows = 33});
  ExpectAddProduct({.inputs = 17, .outputs = 9, .rows = 0});
  ExpectAddProduct({.inputs = 30, .outputs = 48, .rows = 12, .recursions = {3, 0, 9}});
}

// ---- GateUp ----

void ExpectGateUp(uint32_t inputs, uint32_t outputs, uint32_t rows,
                  const std::vector<uint32_t>& recursions = {}) {
  SCOPED_TRACE(absl::StrCat(inputs, " inputs, ", outputs, " outputs, ", rows, " rows"));
  const HostProduct product({.inputs = inputs,
                             .outputs = 2 * outputs,
                             .rows = rows,
                             .has_norm = true,
                             .order = {outputs},
                             .recursions = recursions},
                            rows);
  const std::vector<Bf16> before(OperandElements(rows + 1, outputs), kUntouchedBf16);
  std::vector<Bf16> after = before;
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t o = 0; o < outputs; ++o) {
      after[OperandIndex(row, o, StepsOf(outputs))] =
          FloatToBf16(Silu(product.At(row, o)) * product.At(row, outputs + o));
    }
  }
  ForEachWay([&](Runtime& runtime, const ProductShape& shape) {
    const DeviceMemory y = Uploaded(runtime, "y", before);
    GateUpBf16Args args;
    args.product = product.Upload(runtime);
    args.outputs = outputs;
    args.y = All<simt::Out, Bf16>(y);
    ASSERT_EQ(LaunchGateUp(runtime, shape, args), absl::OkStatus());
    ExpectSame(Downloaded<Bf16>(runtime, y), after);
  });
}

TEST(LinearBf16, GateUpPairsGatesWithTheirUps) {
  ExpectGateUp(40, 37, 9);
  ExpectGateUp(16, 8, 1);
  ExpectGateUp(129, 72, 33);
  ExpectGateUp(17, 3, 65);
  ExpectGateUp(33, 20, 10, {0, 4, 6});
}

}  // namespace
}  // namespace recurve::cuda
