// SPDX-License-Identifier: Apache-2.0
#include "client/load/rate_search.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

// What the search finds of a server that keeps the SLO up to this rate, and after how many tries.
std::pair<std::optional<double>, int> Find(double first, double highest) {
  RateSearch search(first);
  int tries = 0;
  while (const std::optional<double> rate = search.next()) {
    search.Tell(*rate <= highest);
    if (++tries > 100) break;
  }
  return {search.best(), tries};
}

TEST(RateSearchTest, ComesCloseFromBothSides) {
  for (const double first : {0.5, 10.0, 99.0, 300.0}) {
    const auto [best, tries] = Find(first, 100);
    ASSERT_TRUE(best.has_value()) << first;
    EXPECT_LE(*best, 100);
    EXPECT_GE(*best * RateSearch::kPrecision, 100) << first;
    EXPECT_LE(tries, 16) << first;
  }
}

TEST(RateSearchTest, GivesUpFarAway) {
  EXPECT_EQ(Find(1, 1e-9).first, std::nullopt);
  EXPECT_EQ(Find(1, 1e9).first, RateSearch::kReach);
}

TEST(RateSearchTest, NothingToldIsNothingFound) {
  const RateSearch search(7);
  EXPECT_EQ(search.next(), 7);
  EXPECT_EQ(search.best(), std::nullopt);
}

}  // namespace
}  // namespace recurve::client
