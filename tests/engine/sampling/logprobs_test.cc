// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

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
        const std::span<const IdLogprob> result = Logprobs(row, token, top_n, scratch);
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
  const std::span<const IdLogprob> result = Logprobs(row, 4, 5, scratch);
  std::vector<uint32_t> ids;
  for (const IdLogprob& entry : result) ids.push_back(entry.id);
  EXPECT_EQ(ids, (std::vector<uint32_t>{4, 1, 3, 4, 0, 2}));
}

TEST(Logprobs, OfFarTokensAreTheirDistance) {
  // Beyond what weights can say, -100 is still 100 below the largest.
  const std::vector<float> row = {0.0F, -100.0F};
  SamplerScratch scratch(2, 0);
  EXPECT_FLOAT_EQ(Logprobs(row, 1, 0, scratch)[0].value, -100.0F);
  EXPECT_FLOAT_EQ(Logprobs(row, 0, 0, scratch)[0].value, 0.0F);
}

TEST(AllFinite, FindsOneBadLogit) {
  std::vector<float> row(100, 1.0F);
  EXPECT_TRUE(AllFinite(row));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const size_t i : {size_t{0}, size_t{57}, size_t{99}}) {
      row[i] = bad;
      EXPECT_FALSE(AllFinite(row)) << bad << " at " << i;
      row[i] = 1.0F;
    }
  }
}

}  // namespace
}  // namespace recurve
