// SPDX-License-Identifier: Apache-2.0
#include "client/cli/token.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

TEST(TokenTest, HasARandomSecretAndAnEntryWithoutIt) {
  const auto made = MakeToken("alice-1", "alice");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->token, MatchesRegex("alice-1\\.[A-Za-z0-9_-]{43}"));
  const auto entry = nlohmann::json::parse(made->entry);
  EXPECT_EQ(entry["id"], "alice-1");
  EXPECT_EQ(entry["tenant"], "alice");
  EXPECT_THAT(entry["sha256"].get<std::string>(), MatchesRegex("[0-9a-f]{64}"));
  EXPECT_NE(MakeToken("alice-1", "alice")->token, made->token);
}

TEST(TokenTest, NamesThatAServerWouldNotTakeAreRefused) {
  EXPECT_THAT(MakeToken("a.b", "a").status().message(), HasSubstr("--id is 'a.b'"));
  EXPECT_THAT(MakeToken("", "a").status().message(), HasSubstr("--id"));
  EXPECT_THAT(MakeToken(std::string(65, 'a'), "a").status().message(), HasSubstr("1 to 64"));
  EXPECT_THAT(MakeToken("a", "\n").status().message(), HasSubstr("--tenant is '\\n'"));
}

}  // namespace
}  // namespace recurve::client
