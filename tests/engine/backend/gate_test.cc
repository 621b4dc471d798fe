// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/gate.h"

#include <array>
#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(GateTest, ExpertGates) {
  RouterConfig router;
  router.alpha = 0.5F;
  EXPECT_FLOAT_EQ(ExpertGate(router, 1.0F), 0.5F / (1.0F + std::exp(-1.0F)));
  router.function = RouterFunction::kTanh;
  EXPECT_FLOAT_EQ(ExpertGate(router, 1.0F), 0.5F * std::tanh(1.0F));
  router.function = RouterFunction::kNone;
  EXPECT_EQ(ExpertGate(router, -3.0F), -3.0F);
}

TEST(GateTest, ExpertsPassAtTheThresholdAndBelowTheCap) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(ExpertPasses(0.25F, 0.25F, 1, 2));
  EXPECT_FALSE(ExpertPasses(0.25F, 0.5F, 1, 2));
  EXPECT_FALSE(ExpertPasses(0.25F, 0.25F, 2, 2));
  EXPECT_TRUE(ExpertPasses(-kInfinity, -kInfinity, 1, 3));
  EXPECT_FALSE(ExpertPasses(1e30F, kInfinity, 1, 3));
  EXPECT_FALSE(ExpertPasses(std::numeric_limits<float>::quiet_NaN(), -kInfinity, 1, 3));
}

TEST(GateTest, TokenGatesAreSoftmaxOrSigmoid) {
  RouterConfig router;
  router.type = RouterType::kTokenChoice;
  router.function = RouterFunction::kSoftmax;
  router.alpha = 2.0F;
  std::array<float, 3> z = {1.0F, 3.0F, 2.0F};
  TokenGates(router, 3, z.data());
  const float sum = std::exp(-2.0F) + 1.0F + std::exp(-1.0F);
  EXPECT_FLOAT_EQ(z[0], 2.0F * std::exp(-2.0F) / sum);
  EXPECT_FLOAT_EQ(z[1], 2.0F / sum);
  EXPECT_FLOAT_EQ(z[2], 2.0F * std::exp(-1.0F) / sum);
  router.function = RouterFunction::kSigmoid;
  z = {0.0F, 1.0F, -1.0F};
  TokenGates(router, 3, z.data());
  EXPECT_EQ(z[0], 1.0F);
  EXPECT_FLOAT_EQ(z[1], 2.0F / (1.0F + std::exp(-1.0F)));
}

TEST(GateTest, DepthIsThatOfTheBestScoreUnderTheCap) {
  RouterConfig router;
  router.type = RouterType::kTokenChoice;
  router.function = RouterFunction::kSigmoid;
  const auto choose = [&router](std::array<float, 3> z, const float* bias, uint32_t cap) {
    return ChooseDepth(router, 3, bias, cap, z.data());
  };
  EXPECT_EQ(choose({0.0F, 2.0F, 1.0F}, nullptr, 3).depth, 2U);
  EXPECT_EQ(choose({1.0F, 1.0F, 1.0F}, nullptr, 3).depth, 1U);  // the lower one of equals
  const std::array<float, 3> bias = {0.0F, 0.0F, 1.0F};
  const DepthChoice biased = choose({0.0F, 0.0F, 0.0F}, bias.data(), 3);
  EXPECT_EQ(biased.depth, 3U);
  EXPECT_EQ(biased.score, 1.5F);
  EXPECT_EQ(biased.gate, 0.5F);  // without the bias
  const DepthChoice capped = choose({0.0F, -30.0F, 2.0F}, nullptr, 1);
  EXPECT_EQ(capped.depth, 1U);
  EXPECT_GT(capped.score, 0.8F);  // the router's own choice
  EXPECT_EQ(capped.gate, 0.5F);
  router.weighted = false;
  EXPECT_EQ(choose({0.0F, 2.0F, 1.0F}, nullptr, 3).gate, 1.0F);
}

}  // namespace
}  // namespace recurve
