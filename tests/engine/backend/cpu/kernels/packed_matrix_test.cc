// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/packed_matrix.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "engine/backend/convert.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"

namespace recurve {
namespace {

using Order = PackedMatrix::Order;

std::vector<float> RowOf(const PackedMatrix& matrix, uint32_t output) {
  std::vector<float> row(matrix.inputs());
  matrix.Row(output, row.data());
  return row;
}

// Row `row` of `tensor` as `precision` holds it; zeros beyond its rows.
std::vector<float> Expected(const OwnedTensor& tensor, uint32_t row, Precision precision) {
  std::vector<float> out(tensor.view.columns);
  for (uint32_t k = 0; row < tensor.view.rows && k < tensor.view.columns; ++k) {
    out[k] = RoundedTo(precision, tensor.values[size_t{row} * tensor.view.columns + k]);
  }
  return out;
}

TEST(PackedMatrixTest, ConcatenatesRows) {
  Random random(1);
  const OwnedTensor a(40, 88, random.Floats(40 * 88, Range::kNormal));
  const OwnedTensor b(7, 88, random.Floats(7 * 88, Range::kNormal));
  const OwnedTensor c(50, 88, random.Floats(50 * 88, Range::kNormal));
  const Tensor parts[] = {a.view, b.view, c.view};
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    const PackedMatrix matrix = *PackedMatrix::Pack(parts, Order::kConcatenated, precision);
    ASSERT_EQ(matrix.outputs(), 97U);
    ASSERT_EQ(matrix.panels(), 4U);
    ASSERT_EQ(matrix.padded_inputs(), 96U);
    for (uint32_t n = 0; n < 97; ++n) {
      const std::vector<float> expected = n < 40   ? Expected(a, n, precision)
                                          : n < 47 ? Expected(b, n - 40, precision)
                                                   : Expected(c, n - 47, precision);
      EXPECT_EQ(RowOf(matrix, n), expected) << n;
    }
  }
}

TEST(PackedMatrixTest, InterleavesRunsOf16) {
  Random random(2);
  const OwnedTensor gate(40, 33, random.Floats(40 * 33, Range::kNormal));
  const OwnedTensor up(40, 33, random.Floats(40 * 33, Range::kNormal));
  const Tensor parts[] = {gate.view, up.view};
  const PackedMatrix matrix = *PackedMatrix::Pack(parts, Order::kInterleaved, Precision::kBf16);
  ASSERT_EQ(matrix.outputs(), 96U);
  for (uint32_t n = 0; n < 96; ++n) {
    const OwnedTensor& part = n / 16 % 2 == 0 ? gate : up;
    EXPECT_EQ(RowOf(matrix, n), Expected(part, n / 32 * 16 + n % 16, Precision::kBf16)) << n;
  }
}

// The layout itself, since other instruction sets read it too.
TEST(PackedMatrixTest, LaysOutPairsOfInputs) {
  Random random(3);
  const OwnedTensor w(64, 96, random.Floats(64 * 96, Range::kNormal));
  const PackedMatrix bf16 =
      *PackedMatrix::Pack({&w.view, 1}, Order::kConcatenated, Precision::kBf16);
  const PackedMatrix f32 = *PackedMatrix::Pack({&w.view, 1}, Order::kConcatenated, Precision::kF32);
  for (uint32_t n = 0; n < 64; ++n) {
    for (uint32_t k = 0; k < 96; ++k) {
      const size_t half = (size_t{n / 32} * 3 + k / 32) * 2 + n % 32 / 16;
      const size_t pair = (half * 16 + k % 32 / 2) * 16 + n % 16;
      const float value = w.values[n * 96 + k];
      EXPECT_EQ(reinterpret_cast<const Bf16*>(bf16.panel(0))[pair * 2 + k % 2], FloatToBf16(value));
      EXPECT_EQ(reinterpret_cast<const float*>(f32.panel(0))[(half * 32 + k % 32) * 16 + n % 16],
                value);
    }
  }
}

// The layout itself, and what stands behind it.
TEST(PackedMatrixTest, LaysOutQuadsOfInputsInInt8) {
  Random random(5);
  const OwnedTensor w(70, 100, random.Floats(70 * 100, Range::kNormal));
  const PackedMatrix matrix =
      *PackedMatrix::Pack({&w.view, 1}, Order::kConcatenated, Precision::kInt8);
  ASSERT_EQ(matrix.padded_inputs(), 128U);
  ASSERT_EQ(matrix.bytes(), 3U * (32 * 128 + 32 * 8));
  for (uint32_t n = 0; n < 96; ++n) {
    std::vector<int8_t> numbers(128);
    float scale = 0;
    if (n < 70) scale = QuantizeRow(&w.values[n * 100], 100, numbers.data());
    int32_t sum = 0;
    for (uint32_t k = 0; k < 128; ++k) {
      const size_t half = size_t{k / 64} * 2 + n % 32 / 16;
      const size_t quad = (half * 16 + k % 64 / 4) * 16 + n % 16;
      EXPECT_EQ(static_cast<int8_t>(matrix.panel(n / 32)[quad * 4 + k % 4]), numbers[k]);
      sum += numbers[k];
    }
    EXPECT_EQ(matrix.scales(n / 32)[n % 32], scale);
    EXPECT_EQ(matrix.sums(n / 32)[n % 32], sum);
    if (n >= 70) continue;
    const std::vector<float> row = RowOf(matrix, n);
    for (uint32_t k = 0; k < 100; ++k) EXPECT_EQ(row[k], static_cast<float>(numbers[k]) * scale);
  }
}

TEST(PackedMatrixTest, PaddingIsZero) {
  const OwnedTensor w(5, 3, std::vector<float>(15, 1.0F));
  const PackedMatrix matrix =
      *PackedMatrix::Pack({&w.view, 1}, Order::kConcatenated, Precision::kF32);
  const float* const values = reinterpret_cast<const float*>(matrix.panel(0));
  float sum = 0;
  for (size_t i = 0; i < 32 * 32; ++i) sum += values[i];
  EXPECT_EQ(sum, 15.0F);
}

TEST(PackedMatrixTest, FillsGroupsInParallel) {
  Random random(4);
  const OwnedTensor w(500, 70, random.Floats(500 * 70, Range::kNormal));
  for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
    const PackedMatrix whole = *PackedMatrix::Pack({&w.view, 1}, Order::kConcatenated, precision);
    HugeArena arena;
    PackedMatrix parts =
        *PackedMatrix::Create({&w.view, 1}, Order::kConcatenated, precision, arena);
    std::thread other([&] { parts.Fill({&w.view, 1}, 9, parts.panels()); });
    parts.Fill({&w.view, 1}, 0, 9);
    other.join();
    ASSERT_EQ(parts.bytes(), whole.bytes());
    EXPECT_EQ(std::memcmp(parts.panel(0), whole.panel(0), whole.bytes()), 0);
    const PackedMatrix moved = std::move(parts);
    EXPECT_EQ(std::memcmp(moved.panel(0), whole.panel(0), whole.bytes()), 0);
  }
}

TEST(ConvertRowTest, WidensEveryHalfExactly) {
  // All 65,536 patterns, at an odd address.
  std::vector<std::byte> memory(65536 * 2 + 1);
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    std::memcpy(&memory[1 + 2 * i], &bits, 2);
  }
  std::vector<float> out(65536);
  ConvertRow({DataType::kF16, 1, 65536, &memory[1]}, 0, out.data());
  for (uint32_t i = 0; i < 65536; ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31);
    const int mantissa = static_cast<int>(i & 1023);
    if (exponent == 31) {
      EXPECT_EQ(mantissa == 0, std::isinf(out[i])) << i;
      EXPECT_EQ(mantissa != 0, std::isnan(out[i])) << i;
    } else {
      const double magnitude =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      EXPECT_EQ(std::abs(out[i]), magnitude) << i;
    }
    EXPECT_EQ(std::signbit(out[i]), i >= 32768) << i;
  }
  ConvertRow({DataType::kBf16, 1, 65536, &memory[1]}, 0, out.data());
  for (uint32_t i = 0; i < 65536; ++i) EXPECT_EQ(FloatBits(out[i]), i << 16);
}

}  // namespace
}  // namespace recurve
