// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

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

}  // namespace
}  // namespace recurve::client
