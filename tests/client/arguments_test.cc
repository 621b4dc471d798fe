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

}  // namespace
}  // namespace recurve::client
