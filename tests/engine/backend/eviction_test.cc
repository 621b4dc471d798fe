// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/eviction.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Positions in their new order.
std::vector<uint32_t> After(Eviction& eviction, const EvictionRule& rule, uint32_t keep,
                            std::vector<uint32_t> positions, std::vector<uint64_t> scores = {}) {
  for (const EntryMove& move : eviction.Choose(rule, keep, positions, scores)) {
    positions[move.to] = positions[move.from];
  }
  positions.resize(keep);
  return positions;
}

TEST(EvictionTest, AWindowKeepsTheFirstAndTheLast) {
  Eviction eviction(8);
  const EvictionRule rule = {EvictionPolicy::kWindow, 1, 0};
  EXPECT_THAT(After(eviction, rule, 4, {0, 1, 2, 3, 4, 5, 6}), ElementsAre(0, 4, 5, 6));
  // What is left lies in another order than that of positions, and is told by position all the
  // same.
  EXPECT_THAT(After(eviction, rule, 3, {0, 7, 5, 6}), ElementsAre(0, 7, 6));
  EXPECT_THAT(After(eviction, {EvictionPolicy::kWindow, 9, 0}, 2, {3, 5, 8}), ElementsAre(3, 5));
}

TEST(EvictionTest, TheRuleIsAWindowWhereNoRouterChose) {
  constexpr StepShape kShape = {.recursions = 3, .shared_kv = 0};
  constexpr StepShape kShared = {.recursions = 3, .shared_kv = 1};
  const EvictionRule by_router = {EvictionPolicy::kRouter, 2, 5};
  for (uint32_t group = 0; group <= kShape.exit_group(); ++group) {
    const EvictionRule rule = RuleFor(by_router, group, kShape);
    const bool scored = group == 2 || group == 3;
    EXPECT_EQ(rule.policy, scored ? EvictionPolicy::kRouter : EvictionPolicy::kWindow) << group;
    EXPECT_EQ(rule.sinks, 2U);
    EXPECT_EQ(rule.recent, 5U);
    EXPECT_EQ(RuleFor({EvictionPolicy::kAttention, 2, 5}, group, kShape).policy,
              EvictionPolicy::kAttention);
  }
  EXPECT_EQ(RuleFor(by_router, 1, kShared).policy, EvictionPolicy::kWindow);
}

TEST(EvictionTest, ScoreKeysLieAsTheScores) {
  const std::vector<float> ascending = {-1e30F, -2.0F, -1e-42F, 0.0F, 1e-42F, 0.5F, 1e30F};
  for (size_t i = 1; i < ascending.size(); ++i) {
    EXPECT_LT(ScoreKey(ascending[i - 1]), ScoreKey(ascending[i])) << ascending[i];
  }
  EXPECT_EQ(ScoreKey(-0.0F), ScoreKey(0.0F));
}

TEST(EvictionTest, NothingMovesWhereNothingGoes) {
  Eviction eviction(4);
  const std::vector<uint32_t> positions = {4, 9, 7};
  EXPECT_THAT(eviction.Choose({EvictionPolicy::kRouter, 1, 1}, 3, positions, {{3, 2, 1}}),
              IsEmpty());
}

TEST(EvictionTest, TheHighestScoresStayAndOfEqualOnesTheLater) {
  Eviction eviction(8);
  const EvictionRule rule = {EvictionPolicy::kRouter, 1, 1};
  EXPECT_THAT(After(eviction, rule, 4, {0, 1, 2, 3, 4, 5}, {0, 9, 7, 8, 7, 0}),
              ElementsAre(0, 1, 5, 3));
  EXPECT_THAT(After(eviction, rule, 4, {0, 1, 2, 3, 4, 5}, {0, 7, 7, 7, 7, 0}),
              ElementsAre(0, 4, 5, 3));
}

TEST(EvictionTest, AgreesWithTheNaiveWay) {
  std::mt19937_64 random(5);
  const auto draw = [&random](uint64_t n) { return static_cast<uint32_t>(random() % n); };
  Eviction eviction(64);
  for (int trial = 0; trial < 5'000; ++trial) {
    const uint32_t count = 1 + draw(40);
    const uint32_t keep = 1 + draw(count);
    EvictionRule rule;
    rule.policy = static_cast<EvictionPolicy>(1 + draw(3));
    rule.sinks = draw(6);
    rule.recent = draw(6);
    std::set<uint32_t> distinct;
    while (distinct.size() < count) distinct.insert(draw(1'000));
    std::vector<uint32_t> positions(distinct.begin(), distinct.end());
    std::shuffle(positions.begin(), positions.end(), random);
    std::vector<uint64_t> scores(count);
    for (uint64_t& score : scores) score = draw(8);

    // One by one: the worth of an entry, then the best of them.
    std::vector<uint32_t> sorted(distinct.begin(), distinct.end());
    const auto worth = [&](uint32_t entry) {
      const auto rank = static_cast<uint32_t>(
          std::find(sorted.begin(), sorted.end(), positions[entry]) - sorted.begin());
      const uint32_t from_last = count - 1 - rank;
      if (rank < rule.sinks) return std::tuple<int, uint64_t, uint64_t>(3, count - rank, 0);
      if (rule.policy == EvictionPolicy::kWindow || from_last < rule.recent) {
        return std::tuple<int, uint64_t, uint64_t>(2, rank, 0);
      }
      return std::tuple<int, uint64_t, uint64_t>(1, scores[entry], positions[entry]);
    };
    std::vector<uint32_t> best(count);
    for (uint32_t i = 0; i < count; ++i) best[i] = i;
    std::sort(best.begin(), best.end(),
              [&](uint32_t a, uint32_t b) { return worth(a) > worth(b); });
    std::set<uint32_t> expected;
    for (uint32_t i = 0; i < keep; ++i) expected.insert(positions[best[i]]);

    const std::vector<uint32_t> after = After(eviction, rule, keep, positions, scores);
    EXPECT_EQ(std::set<uint32_t>(after.begin(), after.end()), expected);
    for (uint32_t entry = 0; entry < keep; ++entry) {
      if (expected.count(positions[entry]) > 0) {
        EXPECT_EQ(after[entry], positions[entry]) << "a survivor below `keep` moved";
      }
    }
  }
}

}  // namespace
}  // namespace recurve
