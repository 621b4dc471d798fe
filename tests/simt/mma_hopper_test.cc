// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/mma_hopper.h"

#include <array>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr uint32_t kInfinity = 0x7F800000;

// The bf16 bits of a float that bf16 holds.
uint16_t Bf16(float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }

// The sum of products of pairs of bf16 bits, the rest zeros, and an addend's bits.
uint32_t SumOfBits(const std::vector<std::pair<uint16_t, uint16_t>>& factors, uint32_t addend) {
  std::array<uint16_t, kMmaDepth> a = {};
  std::array<uint16_t, kMmaDepth> b = {};
  for (size_t k = 0; k < factors.size(); ++k) {
    a[k] = factors[k].first;
    b[k] = factors[k].second;
  }
  return MmaSum(a.data(), 1, b.data(), 1, addend);
}

float Sum(const std::vector<std::pair<float, float>>& factors, float addend) {
  std::vector<std::pair<uint16_t, uint16_t>> bits;
  for (const auto& [a, b] : factors) bits.emplace_back(Bf16(a), Bf16(b));
  return std::bit_cast<float>(SumOfBits(bits, std::bit_cast<uint32_t>(addend)));
}

TEST(MmaHopper, SumsWhatNeedsNoCut) {
  EXPECT_EQ(Sum({{2.0F, 3.0F}, {-1.5F, 0.5F}, {4.0F, 0.25F}}, 10.0F), 16.25F);
}

TEST(MmaHopper, TermsKeep25BitsBelowTheLargestExponent) {
  EXPECT_EQ(Sum({{1.0F, 1.0F}, {0x1p-25F, 1.0F}, {-1.0F, 1.0F}}, 0.0F), 0x1p-25F);
  EXPECT_EQ(Sum({{1.0F, 1.0F}, {0x1p-26F, 1.0F}, {-1.0F, 1.0F}}, 0.0F), 0.0F);
  // The exponent of 1.5 * 1.5 = 2.25 is the sum of its factors', 0: 2^-25 is still within.
  EXPECT_EQ(Sum({{1.5F, 1.5F}, {0x1p-25F, 1.0F}, {-1.5F, 1.5F}}, 0.0F), 0x1p-25F);
}

TEST(MmaHopper, TermsAndSumAreCutTowardZero) {
  EXPECT_EQ(Sum({{1.0F, 1.0F}, {-0x1p-26F, 1.0F}}, 0.0F), 1.0F);
  EXPECT_EQ(Sum({{-1.0F, 1.0F}, {0x1p-26F, 1.0F}}, 0.0F), -1.0F);
  EXPECT_EQ(Sum({{1.0F, 1.0F}, {0x1.8p-24F, 1.0F}}, 0.0F), 1.0F);
  EXPECT_EQ(Sum({{-1.0F, 1.0F}, {-0x1.8p-24F, 1.0F}}, 0.0F), -1.0F);
}

TEST(MmaHopper, AddendIsATermLikeTheProducts) {
  EXPECT_EQ(Sum({{0x1p-26F, 1.0F}, {0x1p-26F, 1.0F}}, 1.0F), 1.0F);
  EXPECT_EQ(Sum({{0x1p25F, 1.0F}, {-0x1p25F, 1.0F}}, 1.5F), 1.0F);
}

TEST(MmaHopper, ZerosDoNotAlign) {
  EXPECT_EQ(Sum({{0.0F, 0x1p100F}}, 0x1.234p-100F), 0x1.234p-100F);
}

TEST(MmaHopper, NothingIsPlusZero) {
  EXPECT_EQ(SumOfBits({{0x8000, 0x3F80}}, 0x80000000), 0U);
  EXPECT_EQ(SumOfBits({{0x3F80, 0xBF80}}, 0x3F800000), 0U);
}

TEST(MmaHopper, DenormalsAreNumbers) {
  EXPECT_EQ(SumOfBits({{0x0001, 0x3F80}}, 0), 0x00010000U);  // 2^-133
  EXPECT_EQ(SumOfBits({}, 0x80000001), 0x80000001U);         // -2^-149
  EXPECT_EQ(SumOfBits({{0x0080, 0x3F00}, {0x8001, 0x3F80}}, 0), 0x003F0000U);
}

TEST(MmaHopper, SumsPastTheLargestFloatAreInfinite) {
  EXPECT_EQ(SumOfBits({{0x7F00, 0x3F80}}, 0x7F7FFFFF), kInfinity);
  EXPECT_EQ(SumOfBits({{0xFF00, 0x3F80}}, 0xFF7FFFFF), kInfinity | 0x80000000);
  // A product may exceed it on the way.
  EXPECT_EQ(SumOfBits({{0x7F00, 0x4000}, {0xFF00, 0x4000}}, 0x3F800000), 0U);
}

TEST(MmaHopper, EveryNanIsTheSame) {
  EXPECT_EQ(SumOfBits({{0x7FC1, 0x3F80}}, 0), kMmaNan);
  EXPECT_EQ(SumOfBits({{0x7F80, 0x0000}}, 0), kMmaNan);
  EXPECT_EQ(SumOfBits({{0x7F80, 0x3F80}, {0xFF80, 0x3F80}}, 0), kMmaNan);
  EXPECT_EQ(SumOfBits({{0x7F80, 0x3F80}}, 0xFF800000), kMmaNan);
  EXPECT_EQ(SumOfBits({}, 0xFFC12345), kMmaNan);
  EXPECT_EQ(SumOfBits({{0x7F80, 0xBF80}}, 0), kInfinity | 0x80000000);
}

// Outputs of an H100 that the rule as it is published, by which zeros align, does not give.
TEST(MmaHopper, HasTheBitsOfACard) {
  EXPECT_EQ(SumOfBits({{0x0150, 0xC17A},
                       {0x0149, 0x3B3B},
                       {0x004B, 0xB741},
                       {0x816E, 0x3CDF},
                       {0x004A, 0x38C3},
                       {0x012B, 0x40C4},
                       {0x0049, 0x410B},
                       {0x8069, 0xB8E4},
                       {0x008F, 0x4272},
                       {0x8000, 0xC2CD},
                       {0x8129, 0xB73B},
                       {0x010E, 0xC064},
                       {0x015D, 0xBBC0},
                       {0x807D, 0x418E},
                       {0x0036, 0xBBEE},
                       {0x8174, 0xB9E6}},
                      0x8222490F),
            0x01288C64U);
  EXPECT_EQ(SumOfBits({{0x8000, 0x8000},
                       {0x0A43, 0x8000},
                       {0x0000, 0x6852},
                       {0x0A7A, 0x8000},
                       {0x8A29, 0x5753},
                       {0x8A10, 0xB729},
                       {0x0000, 0x8000},
                       {0x0A32, 0x0000},
                       {0x0000, 0x0000},
                       {0x8000, 0xD616},
                       {0x8000, 0x8000},
                       {0x0A44, 0xD57F},
                       {0x0A04, 0x8000},
                       {0x8A37, 0x8000},
                       {0x0A5E, 0x0000},
                       {0x8A79, 0x0000}},
                      0x84D90F98),
            0xA2177EC0U);
}

}  // namespace
}  // namespace recurve
