// SPDX-License-Identifier: Apache-2.0
#include "engine/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "engine/sampling/arithmetic.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using Row = std::vector<float>;

// A row with everything that decides its token.
struct Request {
  Row logits = {};
  SamplingParams params = {};
  std::vector<TokenCount> counts = {};
  std::vector<TokenBias> biases = {};
  std::vector<uint32_t> stop_ids = {};
  uint32_t position = 0;
};

SampleResult Sample(const Request& request) {
  SamplerScratch scratch(static_cast<uint32_t>(request.logits.size()), 0);
  return SampleToken(LogitRow(request.logits), request.params, request.counts, request.biases,
                     request.stop_ids, request.position, scratch);
}

// Every token that `positions` draws yield.
std::set<uint32_t> Sampled(Request request, uint32_t positions) {
  std::set<uint32_t> tokens;
  for (request.position = 0; request.position < positions; ++request.position) {
    tokens.insert(Sample(request).token);
  }
  return tokens;
}

// The same rules by whole sorts and maps. Shares with the sampler the functions of arithmetic.h
// alone.
uint32_t NaiveSample(const Request& request) {
  const SamplingParams& params = request.params;
  Row row = request.logits;
  for (const TokenCount& count : request.counts) {
    float& logit = row[count.token];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (count.generated == 0) continue;
    logit -= params.presence_penalty;
    logit = std::fma(-params.frequency_penalty, static_cast<float>(count.generated), logit);
  }
  for (const TokenBias& bias : request.biases) row[bias.token] += bias.value;

  std::vector<uint32_t> ids;
  for (uint32_t id = 0; id < row.size(); ++id) {
    const bool masked = request.position < params.min_end &&
                        std::count(request.stop_ids.begin(), request.stop_ids.end(), id) > 0;
    if (!masked) ids.push_back(id);
  }
  std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return row[a] > row[b]; });
  if (params.temperature == 0) return ids.front();

  std::map<uint32_t, uint64_t> weights;
  const float largest = row[ids.front()];
  for (const uint32_t id : ids) {
    weights[id] = Weight(row[id] - largest, ExponentScale(params.temperature));
  }
  std::erase_if(ids, [&](uint32_t id) { return weights[id] == 0; });
  if (params.top_k > 0 && params.top_k < ids.size()) ids.resize(params.top_k);
  // By weight, ties to the lower id: rounding may have made equal what differed as logits.
  std::sort(ids.begin(), ids.end());
  std::stable_sort(ids.begin(), ids.end(),
                   [&](uint32_t a, uint32_t b) { return weights[a] > weights[b]; });
  uint64_t sum = 0;
  for (const uint32_t id : ids) sum += weights[id];
  if (params.top_p < 1) {
    const auto target = static_cast<uint64_t>(
        std::ceil(static_cast<double>(params.top_p) * static_cast<double>(sum)));
    uint64_t reached = 0;
    size_t size = 0;
    while (reached < target) reached += weights[ids[size++]];
    ids.resize(size);
  }
  const double floor = std::floor(static_cast<double>(params.min_p) * 2147483648.0);
  std::erase_if(ids, [&](uint32_t id) { return static_cast<double>(weights[id]) < floor; });
  std::sort(ids.begin(), ids.end());
  sum = 0;
  for (const uint32_t id : ids) sum += weights[id];
  const uint64_t target = DrawTarget(params.seed_low, params.seed_high, request.position, sum);
  uint64_t prefix = 0;
  for (const uint32_t id : ids) {
    prefix += weights[id];
    if (prefix > target) return id;
  }
  ADD_FAILURE() << "the draw exceeds the sum";
  return 0;
}

template <typename T>
T Pick(std::mt19937_64& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

Request RandomRequest(uint64_t seed) {
  std::mt19937_64 random(seed);
  Request request;
  const auto vocab = Pick<uint32_t>(random, {1, 2, 3, 17, 256, 257, 511, 1000});
  std::normal_distribution<float> normal(0.0F, Pick(random, {0.1F, 2.0F, 15.0F}));
  const bool ties = random() % 2 == 0;
  request.logits.resize(vocab);
  for (float& logit : request.logits) logit = ties ? std::round(normal(random)) : normal(random);

  SamplingParams& params = request.params;
  params.temperature = Pick(random, {0.0F, 0.3F, 1.0F, 1.0F, 2.5F});
  params.top_k = Pick<uint32_t>(random, {0, 0, 1, 2, 5, 100, 5000});
  params.top_p = Pick(random, {1.0F, 1.0F, 0.99F, 0.9F, 0.5F, 1e-9F});
  params.min_p = Pick(random, {0.0F, 0.0F, 0.02F, 0.3F, 0.999F});
  params.seed_low = static_cast<uint32_t>(random());
  params.seed_high = static_cast<uint32_t>(random());
  request.position = static_cast<uint32_t>(random() % 4096);
  if (random() % 2 == 0) {
    params.repetition_penalty = Pick(random, {1.0F, 1.3F, 0.7F});
    params.presence_penalty = Pick(random, {0.0F, 0.5F, -0.5F});
    params.frequency_penalty = Pick(random, {0.0F, 0.25F, -0.1F});
    TokenCounts counts(vocab);
    const uint64_t length = random() % 60;
    for (uint64_t i = 0; i < length; ++i) {
      counts.Add(static_cast<uint32_t>(random() % vocab), i > length / 2);
    }
    request.counts.assign(counts.entries().begin(), counts.entries().end());
  }
  for (uint64_t i = random() % 4; i > 0; --i) {
    request.biases.push_back({static_cast<uint32_t>(random() % vocab), normal(random)});
  }
  if (vocab > 3) {
    for (uint64_t i = random() % 4; i > 0; --i) {
      request.stop_ids.push_back(static_cast<uint32_t>(random() % vocab));
    }
    if (random() % 2 == 0) params.min_end = 2048;
  }
  return request;
}

TEST(SampleToken, AgreesWithTheNaiveSampler) {
  for (uint64_t seed = 0; seed < 8000; ++seed) {
    const Request request = RandomRequest(seed);
    const SampleResult result = Sample(request);
    ASSERT_EQ(result.token, NaiveSample(request)) << "seed " << seed;
    ASSERT_EQ(result.is_stop_id,
              std::count(request.stop_ids.begin(), request.stop_ids.end(), result.token) > 0)
        << "seed " << seed;
  }
}

TEST(SampleToken, ReusedScratchLeavesNoTrace) {
  SamplerScratch scratch(256, 5);
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const Request request = RandomRequest(seed);
    if (request.logits.size() != 256) continue;
    const SampleResult result =
        SampleToken(LogitRow(request.logits), request.params, request.counts, request.biases,
                    request.stop_ids, request.position, scratch);
    ASSERT_EQ(result.token, Sample(request).token) << "seed " << seed;
    Logprobs(LogitRow(request.logits), 3, 5, scratch);
  }
}

TEST(SampleToken, GreedyTakesTheLowestOfTheLargest) {
  EXPECT_EQ(Sample({.logits = {0, 3, 1, 3}}).token, 1U);
  EXPECT_EQ(Sample({.logits = {-0.0F, 0.0F}}).token, 0U);
  EXPECT_EQ(Sample({.logits = {-5, -4, -6}}).token, 1U);
}

// Chi-square statistic of `draws` against the softmax of `logits` at `temperature`.
double ChiSquare(const std::vector<uint32_t>& draws, const Row& logits, double temperature) {
  std::vector<double> expected;
  for (const float logit : logits) expected.push_back(std::exp(logit / temperature));
  const double sum = std::accumulate(expected.begin(), expected.end(), 0.0);
  double statistic = 0;
  for (uint32_t id = 0; id < logits.size(); ++id) {
    const double e = expected[id] / sum * static_cast<double>(draws.size());
    const auto o = static_cast<double>(std::count(draws.begin(), draws.end(), id));
    statistic += (o - e) * (o - e) / e;
  }
  return statistic;
}

TEST(SampleToken, DrawsFollowTheSoftmax) {
  Request request{.logits = {0.0F, 0.5F, -1.0F, 1.5F, 0.25F, -2.0F, 1.0F, 0.75F}};
  request.params.temperature = 0.8F;
  for (const bool by_seed : {false, true}) {
    std::vector<uint32_t> draws;
    for (uint32_t i = 0; i < 20000; ++i) {
      (by_seed ? request.params.seed_low : request.position) = i;
      draws.push_back(Sample(request).token);
    }
    // 7 degrees of freedom: above 30 in one of 10,000 fair trials.
    EXPECT_LT(ChiSquare(draws, request.logits, 0.8), 30) << by_seed;
    EXPECT_GT(ChiSquare(draws, request.logits, 0.9), 60) << by_seed;
  }
}

TEST(SampleToken, DependsOnSeedAndPositionAlone) {
  Request request{.logits = Row(1000, 0.0F)};
  request.params.temperature = 1.0F;
  const uint32_t token = Sample(request).token;
  EXPECT_EQ(token, Sample(request).token);
  Request other = request;
  other.params.seed_high = 1;
  EXPECT_NE(Sample(other).token, token);
  other = request;
  other.position = 1;
  EXPECT_NE(Sample(other).token, token);
}

// A parameter of each step is set so that another order would give another token or set of tokens.

TEST(SampleOrder, RepetitionBeforePresenceAndFrequency) {
  Request request{.logits = {2.0F, 0.25F}, .counts = {{0, 2}}};
  request.params.repetition_penalty = 2.0F;
  request.params.presence_penalty = 1.0F;
  EXPECT_EQ(Sample(request).token, 1U);  // 2 / 2 - 1 = 0, not (2 - 1) / 2
  request.params.presence_penalty = 0.0F;
  request.params.frequency_penalty = 0.5F;
  EXPECT_EQ(Sample(request).token, 1U);  // 2 / 2 - 2 * 0.5 = 0, not (2 - 1) / 2
}

TEST(SampleOrder, PenaltiesBeforeBias) {
  Request request{.logits = {2.0F, 1.75F}, .counts = {{0, 0}}, .biases = {{0, 1.0F}}};
  request.params.repetition_penalty = 2.0F;
  EXPECT_EQ(Sample(request).token, 0U);  // 2 / 2 + 1 = 2, not (2 + 1) / 2
}

TEST(SampleOrder, BiasBeforeTemperature) {
  Request request{.logits = {0.0F, 0.0F}, .biases = {{1, 10.0F}}};
  request.params.temperature = 10.0F;
  request.params.min_p = 0.3F;  // e^-1 is above, e^-10 would be below
  EXPECT_EQ(Sampled(request, 100), (std::set<uint32_t>{0, 1}));
}

TEST(SampleOrder, TopKBeforeTopP) {
  const Row logits = {std::log(4.0F), std::log(3.0F), std::log(2.0F), std::log(1.0F)};
  Request request{.logits = logits};
  request.params.temperature = 1.0F;
  request.params.top_k = 2;
  request.params.top_p = 0.5F;  // half of 7 is met by 4; half of 10 would take 4 + 3
  EXPECT_EQ(Sampled(request, 100), (std::set<uint32_t>{0}));
}

TEST(SampleOrder, TopPBeforeMinP) {
  const Row logits = {std::log(4.0F), std::log(3.0F), std::log(2.0F), std::log(1.0F)};
  Request request{.logits = logits};
  request.params.temperature = 1.0F;
  request.params.top_p = 0.55F;  // of 10: 4 + 3; of the 7 that min-p leaves: 4
  request.params.min_p = 0.6F;
  EXPECT_EQ(Sampled(request, 100), (std::set<uint32_t>{0, 1}));
}

TEST(SampleFilters, TopKTiesGoToTheLowerId) {
  Request request{.logits = {1, 2, 1, 2, 1}};
  request.params.temperature = 1.0F;
  request.params.top_k = 3;
  EXPECT_EQ(Sampled(request, 300), (std::set<uint32_t>{0, 1, 3}));
}

TEST(SampleFilters, TopPTiesGoToTheLowerId) {
  Request request{.logits = {0, 0, 0, 0}};
  request.params.temperature = 1.0F;
  request.params.top_p = 0.5F;
  EXPECT_EQ(Sampled(request, 200), (std::set<uint32_t>{0, 1}));
  request.params.top_p = 0.51F;
  EXPECT_EQ(Sampled(request, 200), (std::set<uint32_t>{0, 1, 2}));
}

TEST(SampleFilters, MinPKeepsItsOwnBound) {
  Request request{.logits = {0, 0, -50}};
  request.params.temperature = 1.0F;
  request.params.min_p = 0.99999994F;
  EXPECT_EQ(Sampled(request, 100), (std::set<uint32_t>{0, 1}));
}

TEST(SamplePenalties, PromptTokensMeetTheRepetitionPenaltyAlone) {
  Request request{.logits = {2.0F, 1.5F}, .counts = {{0, 0}}};
  request.params.presence_penalty = 1.0F;
  request.params.frequency_penalty = 1.0F;
  EXPECT_EQ(Sample(request).token, 0U);
  request.counts = {{0, 1}};
  EXPECT_EQ(Sample(request).token, 1U);
  request.counts = {{0, 0}};
  request.params = {};
  request.params.repetition_penalty = 1.5F;
  EXPECT_EQ(Sample(request).token, 1U);
}

TEST(SamplePenalties, FrequencyCountsPresenceDoesNot) {
  Request request{.logits = {2.0F, 1.0F}, .counts = {{0, 3}}};
  request.params.presence_penalty = 0.5F;
  EXPECT_EQ(Sample(request).token, 0U);
  request.params.presence_penalty = 0.0F;
  request.params.frequency_penalty = 0.5F;
  EXPECT_EQ(Sample(request).token, 1U);
}

TEST(SampleMinEnd, NoStopIdBelowIt) {
  Request request{.logits = {1, 5, 4}, .stop_ids = {1}};
  request.params.min_end = 10;
  request.position = 9;
  EXPECT_EQ(Sample(request).token, 2U);
  EXPECT_FALSE(Sample(request).is_stop_id);
  request.position = 10;
  EXPECT_EQ(Sample(request).token, 1U);
  EXPECT_TRUE(Sample(request).is_stop_id);
  // A bias does not bring it back, and the draw cannot reach it.
  request.position = 0;
  request.params.temperature = 100.0F;
  request.params.min_end = 1000;
  request.biases = {{1, 1000.0F}};
  EXPECT_EQ(Sampled(request, 300), (std::set<uint32_t>{0, 2}));
}

TEST(SampleMinEnd, AVocabularyOfStopIdsIsSampledAllTheSame) {
  Request request{.logits = {1, 5, 4}, .biases = {{2, 7.0F}}, .stop_ids = {0, 1, 2, 99}};
  request.params.min_end = 1000;
  EXPECT_EQ(Sample(request).token, 2U);
  EXPECT_TRUE(Sample(request).is_stop_id);
  request.params.temperature = 1.0F;
  request.params.top_k = 1;
  EXPECT_EQ(Sampled(request, 10), (std::set<uint32_t>{2}));
}

TEST(SampleToken, ParametersKeepLogitsFinite) {
  Request request{.logits = {kLargestLogit, -kLargestLogit, 1}, .counts = {{0, 5}, {1, 5}}};
  request.params.temperature = 1e-30F;
  request.params.frequency_penalty = -kLargestLogit;
  request.biases = {{1, kLargestLogit}, {1, kLargestLogit}, {0, kLargestLogit}};
  EXPECT_EQ(Sampled(request, 50), (std::set<uint32_t>{0, 1}));  // both at the largest logit
}

TEST(TokenCounts, MatchesAMap) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    TokenCounts counts(200);
    for (int life = 0; life < 3; ++life) {
      std::map<uint32_t, uint32_t> expected;
      std::vector<uint32_t> order;
      const uint64_t range = 1 + random() % 200;
      for (int i = 0; i < 300; ++i) {
        const auto token = static_cast<uint32_t>(random() % range * 4099);
        const bool generated = random() % 3 == 0;
        if (expected.count(token) == 0) order.push_back(token);
        expected[token] += generated ? 1 : 0;
        counts.Add(token, generated);
      }
      ASSERT_EQ(counts.entries().size(), order.size()) << seed;
      for (size_t i = 0; i < order.size(); ++i) {
        ASSERT_EQ(counts.entries()[i].token, order[i]) << seed;
        ASSERT_EQ(counts.entries()[i].generated, expected[order[i]]) << seed;
      }
      counts.Clear();
      ASSERT_TRUE(counts.entries().empty());
    }
  }
}

TEST(TokenCounts, CountsAreReadOnlyForPenalties) {
  EXPECT_FALSE(UsesTokenCounts(SamplingParams{}));
  SamplingParams params;
  params.repetition_penalty = 1.1F;
  EXPECT_TRUE(UsesTokenCounts(params));
  params = {};
  params.presence_penalty = -0.1F;
  EXPECT_TRUE(UsesTokenCounts(params));
  params = {};
  params.frequency_penalty = 0.1F;
  EXPECT_TRUE(UsesTokenCounts(params));
}

}  // namespace
}  // namespace recurve
