// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr float kTiny = 0x1p-24F;  // lost when it is added to 1

TEST(ArithmeticTest, Bf16RoundsToNearestEven) {
  EXPECT_EQ(FloatToBf16(1.0F), 0x3F80);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3F808000)), 0x3F80);  // a tie goes to the even one
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3F818000)), 0x3F82);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3F808001)), 0x3F81);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x7F7FFFFF)), 0x7F80);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0xFF800001)), 0xFFC0);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x00008001)), 0x0001);  // a denormal
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float x = Bf16ToFloat(static_cast<Bf16>(bits));
    if (!std::isnan(x)) {
      EXPECT_EQ(FloatToBf16(x), bits);
    }
  }
}

// Sixteen chains: 1 and two tiny numbers of one chain lose them, those of two chains do not.
TEST(ArithmeticTest, LaneSumsAddEachLaneByItself) {
  std::vector<float> x(48, 0.0F);
  const std::vector<float> ones(48, 1.0F);
  x[0] = 1.0F;
  x[16] = x[32] = kTiny;
  EXPECT_EQ(LaneDot(x.data(), ones.data(), 48), 1.0F);
  x[32] = 0.0F;
  x[17] = kTiny;  // lane 1 joins lane 0 last, by itself
  EXPECT_EQ(LaneDot(x.data(), ones.data(), 48), 1.0F);
  x[16] = 0.0F;
  x[25] = kTiny;  // lane 9 joins lane 1 first
  EXPECT_EQ(LaneDot(x.data(), ones.data(), 48), 1.0F + 2 * kTiny);
  EXPECT_EQ(LaneDot(x.data(), ones.data(), 17), 1.0F);
}

TEST(ArithmeticTest, PairSumsAddEvenAndOddByThemselves) {
  const std::vector<float> x = {1.0F, kTiny, 0.0F, kTiny};
  const auto at = [&x](uint32_t i) { return x[i]; };
  const auto one = [](uint32_t) { return 1.0F; };
  EXPECT_EQ(PairSum(4, at, one), 1.0F + 2 * kTiny);
  EXPECT_EQ(PairSum(3, at, one), 1.0F);
  const std::vector<float> y = {1.0F, 0.0F, kTiny, 0.0F, kTiny};
  EXPECT_EQ(PairSum(
                5, [&y](uint32_t i) { return y[i]; }, one),
            1.0F);
}

TEST(ArithmeticTest, RowsAreQuantizedByTheirLargestNumber) {
  // A scale of 2, so that ties are exact; they go to the even one.
  const std::vector<float> x = {-254.0F, 1.0F, 3.0F, 5.0F, -1.0F, -3.0F, 2.9F, 0.0F, -0.0F, 254.0F};
  std::vector<int8_t> q(x.size());
  EXPECT_EQ(QuantizeRow(x.data(), 10, q.data()), 2.0F);
  EXPECT_EQ(q, (std::vector<int8_t>{-127, 0, 2, 2, 0, -2, 1, 0, 0, 127}));
  // Of any row the largest becomes 127, however inverse and product are rounded.
  for (uint32_t i = 0; i < 10000; ++i) {
    const float largest = 1.0F + static_cast<float>(i) * 1.7e-4F;
    QuantizeRow(&largest, 1, q.data());
    ASSERT_EQ(q[0], 127) << largest;
  }
}

TEST(ArithmeticTest, RowsWithoutNumbersAreZeroAndWithoutFiniteOnesNan) {
  const auto quantized = [](std::vector<float> x) {
    std::vector<int8_t> q(x.size(), 77);
    const float scale = QuantizeRow(x.data(), static_cast<uint32_t>(x.size()), q.data());
    const bool zero = std::all_of(q.begin(), q.end(), [](int8_t v) { return v == 0; });
    return std::pair(scale, zero);
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(quantized({0.0F, -0.0F}), std::pair(0.0F, true));
  EXPECT_EQ(quantized({kDenormal, 0x1p-101F}), std::pair(0.0F, true));
  EXPECT_EQ(quantized({kDenormal, 0x1p-100F}), std::pair(0x1p-100F / 127.0F, false));
  EXPECT_EQ(quantized({std::numeric_limits<float>::max()}).second, false);
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    const auto [scale, zero] = quantized({1.0F, bad, 2.0F});
    EXPECT_TRUE(std::isnan(scale) && zero) << bad;
    EXPECT_TRUE(std::isnan(Int8Product(0, scale, 1.0F)));
  }
}

TEST(ArithmeticTest, NormsAndScales) {
  EXPECT_EQ(ScoreScale(64), 0.125F);
  EXPECT_EQ(InverseRms(12.0F, 4, 1.0F), 0.5F);
}

TEST(ArithmeticTest, ARowInInt8HasTheScaleOfItsLargestNumber) {
  const std::vector<float> x = {0.5F, -254.0F, 3.0F, 1.0F, -3.0F, 5.1F};
  std::vector<int8_t> q(6);
  EXPECT_EQ(QuantizeRow(x.data(), 6, q.data()), 2.0F);
  EXPECT_EQ(q, (std::vector<int8_t>{0, -127, 2, 0, -2, 3}));  // ties go to the even one
}

TEST(ArithmeticTest, RowsInInt8WithoutAScale) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<int8_t> q(3, 5);
  for (const float odd : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    const std::vector<float> x = {1.0F, odd, -2.0F};
    EXPECT_TRUE(std::isnan(QuantizeRow(x.data(), 3, q.data())));
    EXPECT_EQ(q, std::vector<int8_t>(3));
  }
  const float least = 0x1p-100F;
  for (const float small : {0.0F, 0x1p-149F, std::nextafter(least, 0.0F)}) {
    EXPECT_EQ(QuantizeRow(&small, 1, q.data()), 0.0F);
    EXPECT_EQ(q[0], 0);
  }
  const float most = std::numeric_limits<float>::max();
  for (const float magnitude : {least, 3.3F, most}) {
    EXPECT_EQ(QuantizeRow(&magnitude, 1, q.data()), magnitude / 127.0F);
    EXPECT_EQ(q[0], 127);
    const float negative = -magnitude;
    QuantizeRow(&negative, 1, q.data());
    EXPECT_EQ(q[0], -127);
  }
}

TEST(ArithmeticTest, MassIsCutToItsUnit) {
  EXPECT_EQ(MassShare(1.0F, 1.0F), uint64_t{1} << 24);
  EXPECT_EQ(MassShare(0.5F, 0.5F), uint64_t{1} << 22);
  EXPECT_EQ(MassShare(1.9F * kTiny, 1.0F), 1U);
  EXPECT_EQ(MassShare(0.9F * kTiny, 1.0F), 0U);
}

TEST(ArithmeticTest, RotatesByTheAngle) {
  float a = 3.0F;
  float b = 4.0F;
  Rotate(0.0F, 1.0F, a, b);
  EXPECT_EQ(a, -4.0F);
  EXPECT_EQ(b, 3.0F);
}

TEST(ArithmeticTest, GeluIsTheExactOne) {
  for (const float x : {-3.0F, -0.5F, 0.0F, 0.7F, 2.5F}) {
    EXPECT_NEAR(Gelu(x), x / 2 * (1 + std::erf(x / std::sqrt(2.0))), 1e-6);
  }
}

}  // namespace
}  // namespace recurve
