// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "engine/base/math.h"
#include "engine/sampling/arithmetic.h"
#include "engine/sampling/sampler.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

std::vector<float> RandomRow(uint32_t vocab, uint64_t seed, float spread, bool with_ties) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> row(vocab);
  for (float& logit : row) {
    logit = normal(random);
    if (with_ties) logit = std::round(logit);
  }
  return row;
}

double LogOfSum(const std::vector<float>& row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float logit : row) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

TEST(Logprobs, AgreeWithDoublesAndASort) {
  for (const uint32_t vocab : {1U, 2U, 7U, 300U, 50000U}) {
    for (const bool with_ties : {false, true}) {
      for (const uint32_t top_n : {0U, 1U, 5U, 20U}) {
        const std::vector<float> row = RandomRow(vocab, vocab + top_n, 4.0F, with_ties);
        const double log_sum = LogOfSum(row);
        std::vector<uint32_t> order(vocab);
        std::iota(order.begin(), order.end(), 0U);
        std::stable_sort(order.begin(), order.end(),
                         [&](uint32_t a, uint32_t b) { return row[a] > row[b]; });
        SamplerScratch scratch(vocab, 20);
        const uint32_t token = vocab / 2;
        const std::span<const IdLogprob> result = Logprobs(LogitRow(row), token, top_n, scratch);
        ASSERT_EQ(result.size(), 1 + std::min(top_n, vocab));
        EXPECT_EQ(result[0].id, token);
        EXPECT_NEAR(result[0].value, row[token] - log_sum, 3e-5);
        for (uint32_t i = 1; i < result.size(); ++i) {
          EXPECT_EQ(result[i].id, order[i - 1]) << "rank " << i << " of " << vocab;
          EXPECT_NEAR(result[i].value, row[order[i - 1]] - log_sum, 3e-5);
        }
      }
    }
  }
}

TEST(Logprobs, OfTiesTheLowerIdComesFirst) {
  const std::vector<float> row = {-0.0F, 1.0F, 0.0F, 1.0F, 1.0F};
  SamplerScratch scratch(5, 5);
  const std::span<const IdLogprob> result = Logprobs(LogitRow(row), 4, 5, scratch);
  std::vector<uint32_t> ids;
  for (const IdLogprob& entry : result) ids.push_back(entry.id);
  EXPECT_EQ(ids, (std::vector<uint32_t>{4, 1, 3, 4, 0, 2}));
}

TEST(Logprobs, OfFarTokensAreTheirDistance) {
  // Beyond what weights can say, -100 is still 100 below the largest.
  const std::vector<float> row = {0.0F, -100.0F};
  SamplerScratch scratch(2, 0);
  EXPECT_FLOAT_EQ(Logprobs(LogitRow(row), 1, 0, scratch)[0].value, -100.0F);
  EXPECT_FLOAT_EQ(Logprobs(LogitRow(row), 0, 0, scratch)[0].value, 0.0F);
}

// Bit for bit, at lengths that no vector divides.
TEST(Logprobs, AreOfTheExactSumOfWeights) {
  for (const uint32_t vocab : {1U, 3U, 255U, 257U, 1021U, 50021U}) {
    const std::vector<float> row = RandomRow(vocab, vocab, 6.0F, false);
    const float largest = *std::max_element(row.begin(), row.end());
    uint64_t sum = 0;
    for (const float logit : row) sum += Weight(logit - largest, kLog2OfE);
    SamplerScratch scratch(vocab, 0);
    for (const uint32_t token : {0U, vocab / 2, vocab - 1}) {
      const float expected = LogProbability(row[token] - largest, sum);
      const float found = Logprobs(LogitRow(row), token, 0, scratch)[0].value;
      EXPECT_EQ(FloatBits(found), FloatBits(expected)) << token << " of " << vocab;
    }
  }
}

}  // namespace
}  // namespace recurve
