// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "engine/base/float_env.h"
#include "engine/base/math.h"
#include "engine/sampling/arithmetic.h"
#include "engine/sampling/sampler.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// What a LogitRow says, one logit after the other.
void ExpectAsOneByOne(const std::vector<float>& logits, const std::string& where) {
  SCOPED_TRACE(where + ", " + std::to_string(logits.size()) + " logits");
  bool finite = true;
  size_t largest = 0;
  for (size_t id = 0; id < logits.size(); ++id) {
    finite = finite && std::isfinite(logits[id]);
    if (OrderKey(logits[id]) > OrderKey(logits[largest])) largest = id;
  }
  const LogitRow row(logits);
  EXPECT_EQ(row.logits.data(), logits.data());
  EXPECT_EQ(row.finite, finite);
  if (std::none_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); })) {
    EXPECT_EQ(row.largest, largest);
    EXPECT_EQ(FloatBits(row.at_largest()), FloatBits(logits[largest]));
  }
}

// Lengths around those of vectors and stretches, and one of a real vocabulary.
std::vector<size_t> Lengths() {
  std::vector<size_t> lengths;
  for (size_t length = 1; length <= 70; ++length) lengths.push_back(length);
  for (const size_t near : {256, 512, 1024}) {
    for (size_t length = near - 2; length <= near + 2; ++length) lengths.push_back(length);
  }
  lengths.push_back(49153);
  return lengths;
}

TEST(LogitRow, KnowsTheFirstOfTheLargest) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  for (const size_t length : Lengths()) {
    std::vector<float> logits(length);
    for (float& logit : logits) logit = normal(random);
    ExpectAsOneByOne(logits, "random");
    for (float& logit : logits) logit = std::round(logit);
    ExpectAsOneByOne(logits, "ties");
    for (float& logit : logits) logit = random() % 2 == 0 ? 0.0F : -0.0F;
    ExpectAsOneByOne(logits, "zeros");
    for (float& logit : logits) logit = -1.0F - std::fabs(normal(random));
    ExpectAsOneByOne(logits, "negative");
    for (float& logit : logits) logit = FloatFromBits(static_cast<uint32_t>(random()) & 0x800FFFFF);
    const ScopedFloatEnv env;
    ExpectAsOneByOne(logits, "denormal");
  }
}

TEST(LogitRow, FindsOneBadLogitWherever) {
  for (const size_t length : Lengths()) {
    std::vector<float> logits(length, 1.0F);
    for (const float bad : {kNan, -kNan, kInfinity, -kInfinity, FloatFromBits(0x7F800001),
                            FloatFromBits(0xFF800001)}) {
      for (const size_t id : {size_t{0}, length / 3, length / 2, length - 1}) {
        logits[id] = bad;
        ExpectAsOneByOne(logits, "one bad logit");
        logits[id] = 1.0F;
      }
    }
    for (const float most : {kLargestLogit, -kLargestLogit}) {
      logits[length / 2] = most;
      ExpectAsOneByOne(logits, "the most that is finite");
      logits[length / 2] = 1.0F;
    }
  }
}

// Without anything that changes a logit no other memory is written.
TEST(LogitRow, KnowsTheTokenOfAGreedyRow) {
  const std::vector<float> logits = {1.0F, 5.0F, 2.0F};
  SamplerScratch scratch(3, 0);
  std::fill(scratch.logits.begin(), scratch.logits.end(), 7.0F);
  SamplingParams params;
  params.temperature = 0.0F;
  EXPECT_EQ(SampleToken(LogitRow(logits), params, {}, {}, {}, 4, scratch).token, 1U);
  EXPECT_EQ(scratch.logits, std::vector<float>(3, 7.0F));
  const std::vector<TokenBias> biases = {{2, 4.0F}};
  EXPECT_EQ(SampleToken(LogitRow(logits), params, {}, biases, {}, 4, scratch).token, 2U);
}

}  // namespace
}  // namespace recurve
