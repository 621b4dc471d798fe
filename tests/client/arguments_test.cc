// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(ArgumentsTest, FlagsWithoutTheirValueAreRefused) {
  const absl::Status status = CheckFlagsHaveValues({"bench", "--prompts=", "--requests=1"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--prompts has no value"));
  for (const std::vector<std::string_view>& fine : {std::vector<std::string_view>{},
                                                    {"generate", "", "--json", "--seed=1"},
                                                    {"generate", "a=", "--stop==", "--stop=a="},
                                                    {"generate", "--", "--stop="}}) {
    EXPECT_EQ(CheckFlagsHaveValues(fine), absl::OkStatus());
  }
}

TEST(ArgumentsTest, UnknownCommandsAreNamedAndTheKnownToo) {
  const std::vector<std::string> commands = {"info", "top"};
  EXPECT_EQ(CheckCommand({"top", "info"}, commands), absl::OkStatus());
  EXPECT_EQ(CheckCommand({"--help"}, commands), absl::OkStatus());
  const absl::Status unknown = CheckCommand({"frobnicate"}, commands);
  EXPECT_EQ(unknown.message(), "'frobnicate' is no command; there are info, top");
  EXPECT_EQ(CheckCommand({}, commands).message(), "a command is missing; there are info, top");
}

TEST(ArgumentsTest, WholeNumbersAreDecimal) {
  const CLI::Validator number = WholeNumber(0, 255);
  for (const auto& [given, taken] :
       {std::pair("0", "0"), std::pair("255", "255"), std::pair("010", "10")}) {
    std::string text = given;
    EXPECT_EQ(number(text), "");
    EXPECT_EQ(text, taken);
  }
  for (const char* given : {"", "256", "-1", "-18446744073709551615", "18446744073709551616",
                            "0x10", "1.0", "1e2", "x"}) {
    std::string text = given;
    EXPECT_THAT(number(text), HasSubstr("expected a whole number from 0 to 255")) << given;
  }
  std::string zero = "0";
  EXPECT_THAT(WholeNumber(1, 5)(zero),
              HasSubstr("'0' is not possible: expected a whole number from 1 to 5"));
}

TEST(ArgumentsTest, NumbersAreFiniteAndInTheirInterval) {
  const auto takes = [](const Interval& interval, std::string text) {
    return Number(interval)(text).empty();
  };
  for (const char* given : {"nan", "-nan", "NaN", "inf", "-inf", "infinity", "1e30", "1e999", "-1",
                            "-1e-30", "100.01", "", "x", "1x"}) {
    EXPECT_FALSE(takes({0, 100}, given)) << given;
  }
  for (const char* given : {"0", "-0", "100", "1e2", ".5", "99.99"}) {
    EXPECT_TRUE(takes({0, 100}, given)) << given;
  }
  EXPECT_FALSE(takes({.least = 0, .most = 1, .without_least = true}, "0"));
  EXPECT_FALSE(takes({.least = 0, .most = 1, .without_least = true}, "1e-60"));  // 0 as a float
  EXPECT_FALSE(takes({.least = 0, .most = 1, .without_most = true}, "1"));
  std::string nan = "nan";
  EXPECT_EQ(Number({-100, 100})(nan), "'nan' is not possible: expected a number from -100 to 100");
  EXPECT_THAT(Number({.least = 0, .most = 1, .without_least = true, .without_most = true})(nan),
              HasSubstr("expected a number above 0 to below 1"));
}

}  // namespace
}  // namespace recurve::client
