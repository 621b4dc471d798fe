// SPDX-License-Identifier: Apache-2.0
#include "server/access/tokens.h"

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

std::variant<std::string, Unauthenticated> Judge(const std::optional<std::string>& sent) {
  AccessRules rules;
  rules.tokens["alice-1"] = {Sha256Of("s3cret.with.dots"), "alice"};
  rules.tokens["bob"] = {Sha256Of("other"), "bob"};
  return JudgeToken(rules, sent ? std::optional<std::string_view>(*sent) : std::nullopt);
}

TEST(TokensTest, TheHashIsSha256) {
  const Sha256 hash = Sha256Of("abc");
  EXPECT_EQ(absl::BytesToHexString(
                absl::string_view(reinterpret_cast<const char*>(hash.data()), hash.size())),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(TokensTest, ARightTokenHasItsTenant) {
  EXPECT_EQ(std::get<std::string>(Judge("Bearer alice-1.s3cret.with.dots")), "alice");
  EXPECT_EQ(std::get<std::string>(Judge("bearer bob.other")), "bob");
}

TEST(TokensTest, AnyOtherHasNone) {
  const std::pair<std::optional<std::string>, Unauthenticated> kBad[] = {
      {std::nullopt, Unauthenticated::kMissing},
      {"", Unauthenticated::kMalformed},
      {"Bearer", Unauthenticated::kMalformed},
      {"Bearer ", Unauthenticated::kMalformed},
      {"Bearer alice-1", Unauthenticated::kMalformed},
      {"Bearer alice-1.", Unauthenticated::kMalformed},
      {"Bearer .s3cret.with.dots", Unauthenticated::kMalformed},
      {"Basic alice-1.s3cret.with.dots", Unauthenticated::kMalformed},
      {"alice-1.s3cret.with.dots", Unauthenticated::kMalformed},
      {"Bearer alice-1." + std::string(2000, 'x'), Unauthenticated::kMalformed},
      {"Bearer carol.s3cret.with.dots", Unauthenticated::kUnknown},
      {"Bearer  alice-1.s3cret.with.dots", Unauthenticated::kUnknown},
      {"Bearer alice-1.other", Unauthenticated::kWrong},
      {"Bearer alice-1.s3cret.with.dots ", Unauthenticated::kWrong},
      {"Bearer alice-1.s3cret.with.dot", Unauthenticated::kWrong}};
  for (const auto& [sent, why] : kBad) {
    const auto judged = Judge(sent);
    ASSERT_TRUE(std::holds_alternative<Unauthenticated>(judged)) << sent.value_or("none");
    EXPECT_EQ(std::get<Unauthenticated>(judged), why) << sent.value_or("none");
  }
}

}  // namespace
}  // namespace recurve
