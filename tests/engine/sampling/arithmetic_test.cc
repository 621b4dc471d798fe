// SPDX-License-Identifier: Apache-2.0
#include "engine/sampling/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Arithmetic, PhiloxGivesThePublishedVectors) {
  // Known answers of the Random123 library for philox4x32-10.
  struct Case {
    PhiloxWords counter;
    uint32_t key0, key1;
    PhiloxWords expected;
  };
  const Case cases[] = {
      {{{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
      {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
       0xffffffff,
       0xffffffff,
       {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
       0xa4093822,
       0x299f31d0,
       {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
  };
  for (const Case& c : cases) {
    const PhiloxWords words = Philox(c.counter, c.key0, c.key1);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(words.word[i], c.expected.word[i]) << i;
  }
}

TEST(Arithmetic, MultiplyHighIsExact) {
  std::mt19937_64 random(1);
  __extension__ using Wide = unsigned __int128;
  for (int i = 0; i < 10000; ++i) {
    const uint64_t a = random() >> (random() % 64);
    const uint64_t b = random() >> (random() % 64);
    ASSERT_EQ(MultiplyHigh(a, b), static_cast<uint64_t>((Wide{a} * b) >> 64)) << a << " " << b;
  }
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(MultiplyHigh(kMost, kMost), kMost - 1);
}

TEST(Arithmetic, DrawTargetReadsSeedAndPosition) {
  // The first two words of the known answers, as one number, scaled to the sum.
  EXPECT_EQ(DrawTarget(0, 0, 0, uint64_t{1} << 32), 0xe169c58dU);
  EXPECT_NE(DrawTarget(1, 0, 0, uint64_t{1} << 32), 0xe169c58dU);
  EXPECT_NE(DrawTarget(0, 1, 0, uint64_t{1} << 32), 0xe169c58dU);
  EXPECT_NE(DrawTarget(0, 0, 1, uint64_t{1} << 32), 0xe169c58dU);
  EXPECT_EQ(DrawTarget(7, 7, 7, 1), 0U);
}

TEST(Arithmetic, WeightIsTheScaledExponential) {
  EXPECT_EQ(Weight(0.0F, ExponentScale(1.0F)), kWeightOne);
  EXPECT_EQ(Weight(-kInfinity, ExponentScale(1.0F)), 0U);
  EXPECT_EQ(Weight(-1.0F, kLog2OfE), 790015104U);  // 2^31 / e = 790015084.4: these bits everywhere
  for (const float temperature : {0.01F, 0.7F, 1.0F, 3.0F}) {
    const float scale = ExponentScale(temperature);
    for (int step = 0; step < 1080; ++step) {
      const float difference = -0.0371F * static_cast<float>(step);
      const double exact = std::floor(std::exp(static_cast<double>(difference) / temperature) *
                                      static_cast<double>(kWeightOne));
      // The exponent, up to 31, is rounded twice: 31 * 2^-24 * 2 * ln 2.
      EXPECT_NEAR(Weight(difference, scale), exact, 1.0 + exact * 4e-6)
          << difference << " at " << temperature;
    }
  }
}

TEST(Arithmetic, ExtremeTemperaturesStayFinite) {
  const float tiny = ExponentScale(std::numeric_limits<float>::min());
  EXPECT_EQ(Weight(0.0F, tiny), kWeightOne);
  EXPECT_EQ(Weight(-1e-3F, tiny), 0U);
  EXPECT_EQ(Weight(-100.0F, ExponentScale(1e30F)), kWeightOne);
}

TEST(Arithmetic, OrderKeyOrdersFloats) {
  const float ascending[] = {-kInfinity, -3e38F, -1.5F, -1.0F, -1e-40F, 0.0F,
                             1e-40F,     1e-20F, 1.0F,  1.5F,  3e38F,   kInfinity};
  for (size_t i = 1; i < std::size(ascending); ++i) {
    EXPECT_LT(OrderKey(ascending[i - 1]), OrderKey(ascending[i])) << ascending[i];
  }
  EXPECT_EQ(OrderKey(-0.0F), OrderKey(0.0F));
}

TEST(Arithmetic, FiniteMeansNeitherNanNorInfinity) {
  EXPECT_TRUE(IsFinite(0.0F));
  EXPECT_TRUE(IsFinite(-kLargestLogit));
  EXPECT_FALSE(IsFinite(kInfinity));
  EXPECT_FALSE(IsFinite(-kInfinity));
  EXPECT_FALSE(IsFinite(std::numeric_limits<float>::quiet_NaN()));
}

TEST(Arithmetic, PenalizeFollowsItsOrder) {
  SamplingParams params;
  params.repetition_penalty = 2.0F;
  EXPECT_EQ(Penalize(3.0F, params, 0), 1.5F);
  EXPECT_EQ(Penalize(-3.0F, params, 0), -6.0F);
  params.presence_penalty = 0.5F;
  params.frequency_penalty = 0.25F;
  EXPECT_EQ(Penalize(3.0F, params, 0), 1.5F);
  EXPECT_EQ(Penalize(3.0F, params, 1), 0.75F);
  EXPECT_EQ(Penalize(3.0F, params, 3), 0.25F);
  params.repetition_penalty = std::numeric_limits<float>::min();
  EXPECT_EQ(Penalize(30.0F, params, 0), kLargestLogit);
  params.frequency_penalty = -kLargestLogit;
  EXPECT_EQ(Penalize(3.0F, params, 9), kLargestLogit);
}

TEST(Arithmetic, TopPTargetRoundsUp) {
  EXPECT_EQ(TopPTarget(0.5F, 10), 5U);
  EXPECT_EQ(TopPTarget(0.5F, 11), 6U);
  EXPECT_EQ(TopPTarget(1e-30F, 10), 1U);
  EXPECT_EQ(TopPTarget(0.0F, 10), 1U);  // what a denormal is where denormals are zero
  EXPECT_EQ(TopPTarget(0.99999994F, uint64_t{1} << 45), (uint64_t{1} << 45) - (uint64_t{1} << 21));
}

TEST(Arithmetic, MinPWeightRoundsDown) {
  EXPECT_EQ(MinPWeight(0.0F), 0U);
  EXPECT_EQ(MinPWeight(0.5F), kWeightOne / 2);
  EXPECT_EQ(MinPWeight(0.1F), 214748368U);  // 0.1F is a little above 0.1
}

}  // namespace
}  // namespace recurve
