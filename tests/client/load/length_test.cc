// SPDX-License-Identifier: Apache-2.0
#include "client/load/length.h"

#include <cmath>
#include <set>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

std::vector<uint32_t> Draw(const std::string& text, int count) {
  const Length length = Length::Parse(text).value();
  EXPECT_EQ(length.text(), text);
  std::mt19937_64 random(5);
  std::vector<uint32_t> lengths;
  while (count-- > 0) lengths.push_back(length.Draw(random));
  return lengths;
}

TEST(LengthTest, ANumberIsAlwaysThat) {
  for (const uint32_t length : Draw("128", 5)) EXPECT_EQ(length, 128U);
  for (const uint32_t length : Draw("normal:7:0", 5)) EXPECT_EQ(length, 7U);
  for (const uint32_t length : Draw("lognormal:7:0", 5)) EXPECT_EQ(length, 7U);
  std::mt19937_64 random(5);
  EXPECT_EQ(Length(3).Draw(random), 3U);
}

TEST(LengthTest, UniformHasAllBetweenItsBoundsAlikeOften) {
  std::map<uint32_t, int> counts;
  for (const uint32_t length : Draw("uniform:2:5", 40000)) ++counts[length];
  ASSERT_EQ(counts.size(), 4U);
  for (uint32_t length = 2; length <= 5; ++length) EXPECT_NEAR(counts[length], 10000, 500);
}

// With 100,000 lengths the bounds are many times what chance makes of mean and deviation.
TEST(LengthTest, MeanAndDeviationAreThoseAskedFor) {
  const std::tuple<const char*, double, double> cases[] = {{"normal:500:50", 500, 50},
                                                           {"lognormal:200:150", 200, 150},
                                                           {"lognormal:1000:10", 1000, 10},
                                                           {"uniform:1:1001", 501, 289}};
  for (const auto& [text, mean, deviation] : cases) {
    double sum = 0, squares = 0;
    const std::vector<uint32_t> lengths = Draw(text, 100000);
    for (const double length : lengths) {
      sum += length;
      squares += length * length;
    }
    const double count = static_cast<double>(lengths.size());
    EXPECT_NEAR(sum / count, mean, 0.02 * mean) << text;
    EXPECT_NEAR(std::sqrt(squares / count - sum / count * sum / count), deviation, 0.04 * deviation)
        << text;
  }
}

// A lognormal distribution is skewed: its median is mean / sqrt(1 + (deviation / mean)^2).
TEST(LengthTest, LognormalHasItsMedian) {
  std::vector<uint32_t> lengths = Draw("lognormal:200:150", 100001);
  std::sort(lengths.begin(), lengths.end());
  EXPECT_NEAR(lengths[50000], 160, 4);
}

TEST(LengthTest, NothingIsBelowOne) {
  std::set<uint32_t> lengths;
  for (const uint32_t length : Draw("normal:1:3", 1000)) lengths.insert(length);
  EXPECT_EQ(*lengths.begin(), 1U);
  EXPECT_GT(lengths.size(), 5U);
}

TEST(LengthTest, SaysWhatIsExpected) {
  for (const char* text : {"", "0", "-1", "1.5", "10000001", "uniform:5:4", "uniform:0:4",
                           "uniform:1.5:4", "uniform:1", "uniform:1:2:3", "normal:5:-1",
                           "normal:nan:1", "normal:5:nan", "gauss:1:1", "lognormal:0.5:1"}) {
    const auto length = Length::Parse(text);
    ASSERT_FALSE(length.ok()) << text;
    EXPECT_THAT(std::string(length.status().message()), HasSubstr("lognormal:MEAN:STDDEV"));
  }
}

}  // namespace
}  // namespace recurve::client
