// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/packed_matrix.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/arithmetic.h"
#include "gtest/gtest.h"

namespace recurve::cuda {
namespace {

// A matrix of floats whose every element is another bf16 number, counted from `first`.
struct Counted {
  Counted(uint32_t rows, uint32_t columns, uint32_t first) : values(size_t{rows} * columns) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = Bf16ToFloat(static_cast<Bf16>(first + i));
    }
    tensor = {DataType::kF32, rows, columns, reinterpret_cast<const std::byte*>(values.data())};
  }
  std::vector<float> values;
  Tensor tensor;
};

// Input k of a tile's row, where tensor_core.h says that the lanes hold it: lane l has of rows
// l / 4 and l / 4 + 8 the inputs 4 (l % 4) .. + 3 of each step, as the instruction takes them in
// pairs: words 0 and 2 are the first row's, words 1 and 3 the other's.
Bf16 At(const std::vector<simt::Words4>& packed, uint32_t steps, uint32_t tile, uint32_t row,
        uint32_t k) {
  const uint32_t lane = row % 8 * 4 + k % 16 / 4;
  const simt::Words4& fragment = packed[(size_t{tile} * steps + k / 16) * 32 + lane];
  const uint32_t word = fragment.w[row / 8 + k % 4 / 2 * 2];
  return static_cast<Bf16>(k % 2 == 0 ? word : word >> 16);
}

std::vector<simt::Words4> Pack(const MatrixParts& parts, uint32_t outputs, OutputOrder order) {
  // Full of ones, which must go.
  std::vector<simt::Words4> packed(PackedFragments(parts[0].columns, outputs, order),
                                   {{~0U, ~0U, ~0U, ~0U}});
  PackMatrix(parts, order, packed.data());
  return packed;
}

// Every place of a tile holds what `output_of(tile, row)` says, or zero for -1 and for inputs that
// there are not.
template <typename OutputOf>
void ExpectPlaces(const Counted& matrix, const std::vector<simt::Words4>& packed,
                  OutputOf output_of) {
  const uint32_t inputs = matrix.tensor.columns;
  const uint32_t steps = (inputs + 15) / 16;
  ASSERT_EQ(packed.size() % (size_t{steps} * 32), 0U);
  const size_t tiles = packed.size() / (size_t{steps} * 32);
  size_t found = 0;
  for (uint32_t tile = 0; tile < tiles; ++tile) {
    for (uint32_t row = 0; row < 16; ++row) {
      const int64_t output = output_of(tile, row);
      for (uint32_t k = 0; k < steps * 16; ++k) {
        const bool exists = output >= 0 && k < inputs;
        const float expected =
            exists ? matrix.values[static_cast<size_t>(output) * inputs + k] : 0.0F;
        ASSERT_EQ(At(packed, steps, tile, row, k), FloatToBf16(expected))
            << "tile " << tile << ", row " << row << ", input " << k;
        found += exists ? 1 : 0;
      }
    }
  }
  EXPECT_EQ(found, matrix.values.size());
}

TEST(PackedMatrix, OutputsAsTheyCome) {
  for (const uint32_t outputs : {1U, 8U, 16U, 17U, 40U}) {
    for (const uint32_t inputs : {1U, 15U, 16U, 17U, 48U}) {
      SCOPED_TRACE(absl::StrCat(outputs, " outputs of ", inputs, " inputs"));
      const Counted matrix(outputs, inputs, 1);
      const auto packed = Pack({matrix.tensor}, outputs, {});
      EXPECT_EQ(packed.size(), size_t{(outputs + 15) / 16} * ((inputs + 15) / 16) * 32);
      ExpectPlaces(matrix, packed, [outputs](uint32_t tile, uint32_t row) -> int64_t {
        const uint32_t output = tile * 16 + row;
        return output < outputs ? int64_t{output} : -1;
      });
    }
  }
}

TEST(PackedMatrix, HalvesOfHeadsSideBySide) {
  for (const uint32_t half : {1U, 3U, 8U, 9U, 16U, 20U}) {
    for (const uint32_t heads : {1U, 3U}) {
      SCOPED_TRACE(absl::StrCat(heads, " heads of ", 2 * half));
      const uint32_t outputs = heads * 2 * half;
      const Counted matrix(outputs, 21, 1);
      const auto packed = Pack({matrix.tensor}, outputs, {half});
      const uint32_t tiles_of_head = (half + 7) / 8;
      EXPECT_EQ(packed.size(), size_t{heads} * tiles_of_head * 2 * 32);
      ExpectPlaces(matrix, packed, [=](uint32_t tile, uint32_t row) -> int64_t {
        const uint32_t pair = tile % tiles_of_head * 8 + row % 8;
        const uint32_t in_head = row < 8 ? pair : half + pair;
        return pair < half ? int64_t{tile / tiles_of_head * 2 * half + in_head} : -1;
      });
    }
  }
}

TEST(PackedMatrix, PartsFollowEachOther) {
  const Counted whole(30, 17, 1);
  const Counted first(20, 17, 1);
  const Counted second(10, 17, 1 + 20 * 17);
  for (const uint32_t half : {0U, 5U, 15U}) {
    const auto a = Pack({whole.tensor}, 30, {half});
    const auto b = Pack({first.tensor, second.tensor}, 30, {half});
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      for (uint32_t word = 0; word < 4; ++word) ASSERT_EQ(a[i].w[word], b[i].w[word]);
    }
  }
}

TEST(PackedMatrix, RoundsToBf16) {
  const float third = 1.0F / 3.0F;
  const Tensor tensor = {DataType::kF32, 1, 1, reinterpret_cast<const std::byte*>(&third)};
  EXPECT_EQ(At(Pack({tensor}, 1, {}), 1, 0, 0, 0), FloatToBf16(third));
}

// Operands: [n8 tile][step][8 rows][16 bf16].
TEST(PackedMatrix, OperandsLieInTilesOfEightRows) {
  constexpr uint32_t kInputs = 40;
  EXPECT_EQ(OperandElements(9, kInputs), 2U * 3 * 8 * 16);
  for (uint32_t row = 0; row < 9; ++row) {
    for (uint32_t k = 0; k < kInputs; ++k) {
      ASSERT_EQ(OperandIndex(row, k, 3), ((row / 8 * 3 + k / 16) * 8 + row % 8) * 16 + k % 16);
    }
  }
}

}  // namespace
}  // namespace recurve::cuda
