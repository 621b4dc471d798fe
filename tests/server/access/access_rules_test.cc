// SPDX-License-Identifier: Apache-2.0
#include "server/access/access_rules.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"

namespace recurve {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kHex(64, 'a');

std::string Token(const std::string& fields) {
  return absl::StrCat(R"({"tokens": [{)", fields, "}]}");
}

TEST(AccessRulesTest, AFileWithEverything) {
  const auto rules = ParseAccessRules(absl::StrCat(R"({"tokens": [{"id": "alice-1", "sha256": ")",
                                                   kHex, R"(", "tenant": "alice"},
                     {"id": "bob_2", "sha256": ")",
                                                   std::string(64, 'F'), R"(", "tenant": "bob's"}],
          "quotas": {"*": {"requests": 2}, "alice": {"requests": 8, "tokens_per_minute": 60000,
                     "queue_share": 0.25}, "bob's": {}}})"));
  ASSERT_TRUE(rules.ok()) << rules.status();
  ASSERT_EQ(rules->tokens.size(), 2U);
  EXPECT_EQ(rules->tokens.find("alice-1")->second.tenant, "alice");
  EXPECT_EQ(rules->tokens.find("alice-1")->second.secret[31], 0xAA);
  EXPECT_EQ(rules->tokens.find("bob_2")->second.secret[0], 0xFF);
  EXPECT_EQ(rules->QuotaOf("alice"), (Quota{8, 60000, 0.25}));
  EXPECT_EQ(rules->QuotaOf("bob's"), Quota());
  EXPECT_EQ(rules->QuotaOf("others"), (Quota{2, std::nullopt, std::nullopt}));
}

TEST(AccessRulesTest, WhatIsNotNamedIsNotBounded) {
  const auto rules = ParseAccessRules(R"({"quotas": {"alice": {"requests": 0}}})");
  ASSERT_TRUE(rules.ok()) << rules.status();
  EXPECT_EQ(rules->QuotaOf("alice").requests, 0U);
  EXPECT_EQ(rules->QuotaOf("bob"), Quota());
  EXPECT_TRUE(rules->tokens.empty());
}

TEST(AccessRulesTest, ErrorsNamePlaceAndValue) {
  const std::string good = absl::StrCat(R"("sha256": ")", kHex, R"(", "tenant": "t")");
  const std::pair<std::string, std::string> kBad[] = {
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {"[]", "must be an object"},
      {"{}", "neither tokens nor quotas"},
      {R"({"token": []})", "token is unknown; known are quotas tokens"},
      {R"({"tokens": {}})", "tokens is {}, not an array"},
      {R"({"tokens": []})", "tokens is empty"},
      {R"({"tokens": [7]})", "tokens[0] is 7, not an object"},
      {R"({"tokens": null})", "tokens is null, not an array"},
      {Token(R"("id": "a")"), "tokens[0].sha256 is missing"},
      {Token(absl::StrCat(R"("id": 7, )", good)), "tokens[0].id is 7, not a text"},
      {Token(absl::StrCat(R"("id": "a.b", )", good)), "tokens[0].id is \"a.b\""},
      {Token(absl::StrCat(R"("id": "", )", good)), "tokens[0].id is \"\""},
      {Token(absl::StrCat(R"("id": ")", std::string(65, 'a'), "\", ", good)), "from 1 to 64"},
      {Token(absl::StrCat(R"("id": "a", "expires": 1, )", good)), "tokens[0].expires is unknown"},
      {Token(absl::StrCat(R"("id": "a", "id": "b", )", good)), "id is given twice in one object"},
      {Token(absl::StrCat(R"("id": "a", "sha256": ")", kHex, R"(", "tenant": "")")),
       "tokens[0].tenant is \"\""},
      {Token(absl::StrCat(R"("id": "a", "sha256": ")", kHex, R"(", "tenant": "\n")")),
       "tokens[0].tenant is \"\\n\""},
      {Token(R"("id": "a", "sha256": "abc", "tenant": "t")"), "tokens[0].sha256 has 3 characters"},
      {Token(
           absl::StrCat(R"("id": "a", "sha256": ")", std::string(64, 'g'), R"(", "tenant": "t")")),
       "not all hex"},
      {absl::StrCat(R"({"tokens": [{"id": "a", )", good, R"(}, {"id": "a", )", good, "}]}"),
       "tokens[1].id is \"a\", as another token's is already"},
      {R"({"quotas": []})", "quotas is [], not an object"},
      {R"({"quotas": {"a": 1}})", "quotas.a is 1, not an object"},
      {R"({"quotas": {"": {}}})", "a tenant has from 1 to"},
      {R"({"quotas": {"a": {"speed": 1}}})", "quotas.a.speed is unknown"},
      {R"({"quotas": {"a": {"requests": -1}}})", "quotas.a.requests is -1; it must be a whole"},
      {R"({"quotas": {"a": {"requests": 1.5}}})", "quotas.a.requests is 1.5"},
      {R"({"quotas": {"a": {"requests": 1000001}}})", "from 0 to 1000000"},
      {R"({"quotas": {"a": {"tokens_per_minute": 0}}})", "from 1 to 1000000000"},
      {R"({"quotas": {"a": {"tokens_per_minute": "9"}}})", "tokens_per_minute is \\\"9\\\""},
      {R"({"quotas": {"a": {"queue_share": 0}}})", "queue_share is 0; it must be a number above 0"},
      {R"({"quotas": {"a": {"queue_share": 1.01}}})", "queue_share is 1.01"},
      {R"({"quotas": {"a": {"queue_share": null}}})", "queue_share is null"},
      {std::string(100000, '['), "nested deeper than 8 levels"},
      {absl::StrCat(std::string(9, '['), R"({"a": 1)"), "nested deeper than 8 levels"}};
  for (const auto& [text, message] : kBad) {
    const auto rules = ParseAccessRules(text);
    EXPECT_TRUE(absl::IsInvalidArgument(rules.status())) << text.substr(0, 100);
    EXPECT_THAT(rules.status().message(), HasSubstr(message)) << text.substr(0, 100);
  }
}

// Somebody puts the secret where its hash belongs.
TEST(AccessRulesTest, AHashThatIsNoneIsNotRepeated) {
  const auto rules = ParseAccessRules(Token(R"("id": "a", "sha256": "my-secret", "tenant": "t")"));
  EXPECT_THAT(rules.status().message(), Not(HasSubstr("my-secret")));
}

}  // namespace
}  // namespace recurve
