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
  const CLI::Validator number = WholeNumber(255);
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
}

}  // namespace
}  // namespace recurve::client
