// SPDX-License-Identifier: Apache-2.0
#include "client/cli/figures.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(FiguresTest, NumbersHaveThreeDigits) {
  const std::pair<double, const char*> kNumbers[] = {
      {0, "0"},         {0.004, "0"},         {0.25, "0.25"},    {9.99, "9.99"},
      {9.996, "10.0"},  {99.94, "99.9"},      {99.96, "100"},    {999.4, "999"},
      {999.6, "1.00k"}, {12345, "12.3k"},     {999600, "1.00M"}, {1.8e19, "18.0E"},
      {1e30, ">999E"},  {kInfinity, ">999E"}, {-3, "0"},         {std::nan(""), "-"}};
  for (const auto& [value, text] : kNumbers) EXPECT_EQ(ShortNumber(value), text) << value;
}

TEST(FiguresTest, CountsAreExactWhileTheyAreShort) {
  EXPECT_EQ(ShortCount(0), "0");
  EXPECT_EQ(ShortCount(99999), "99999");
  EXPECT_EQ(ShortCount(100000), "100k");
  EXPECT_EQ(ShortCount(1.8e19), "18.0E");
}

TEST(FiguresTest, LatenciesAndAges) {
  EXPECT_EQ(ShortLatency(0.00025), "0.25 ms");
  EXPECT_EQ(ShortLatency(0.9994), "999 ms");
  EXPECT_EQ(ShortLatency(0.9996), "1.00 s");
  EXPECT_EQ(ShortLatency(-1), "0.00 ms");
  EXPECT_EQ(ShortLatency(std::nan("")), "-");
  EXPECT_EQ(ShortAge(59.9), "59 s");
  EXPECT_EQ(ShortAge(60), "1 min 0 s");
  EXPECT_EQ(ShortAge(3 * 3600 + 12 * 60 + 5), "3 h 12 min");
  EXPECT_EQ(ShortAge(5 * 86400 + 3 * 3600), "5 d 3 h");
  EXPECT_EQ(ShortAge(std::nan("")), "0 s");
  EXPECT_EQ(ShortAge(kInfinity), "1157407 d 9 h");
}

TEST(FiguresTest, BarsStayWithinTheirBrackets) {
  EXPECT_EQ(Bar(0, 4), "[....]");
  EXPECT_EQ(Bar(0.0001, 4), "[#...]");
  EXPECT_EQ(Bar(0.5, 4), "[##..]");
  EXPECT_EQ(Bar(7, 4), "[####]");
  EXPECT_EQ(Bar(-1, 4), "[....]");
  EXPECT_EQ(Bar(std::nan(""), 4), "[....]");
}

TEST(FiguresTest, LinesAreCutAtCharacters) {
  EXPECT_EQ(FitLine("abcdef", 6), "abcdef");
  EXPECT_EQ(FitLine("abcdefg", 6), "abc...");
  EXPECT_EQ(FitLine("abcdefg", 2), "..");
  EXPECT_EQ(FitLine("abc", 0), "");
  EXPECT_EQ(FitLine("\xC3\xA4\xC3\xB6\xC3\xBC\xC3\xA4\xC3\xB6\xC3\xBC\xC3\xA4", 6),
            "\xC3\xA4\xC3\xB6\xC3\xBC...");
  EXPECT_EQ(FitLine("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 6),
            "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E");
  EXPECT_EQ(FitLine("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 5), "\xE6\x97\xA5...");
}

TEST(FiguresTest, LinesAreOneLineAndDriveNothing) {
  EXPECT_EQ(FitLine("a\nb\tc", 80), "a b c");
  EXPECT_EQ(FitLine("\x1b[2J", 80), "\xE2\x90\x9B[2J");
}

}  // namespace
}  // namespace recurve::client
