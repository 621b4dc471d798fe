// SPDX-License-Identifier: Apache-2.0
#include "client/prefix_key.h"

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

uint64_t KeyOfText(const std::string& text, uint32_t tokens = 64) {
  v1::GenerateRequest request;
  request.set_text(text);
  return PrefixKey(request, tokens);
}

uint64_t KeyOfIds(const std::vector<uint32_t>& ids, uint32_t tokens = 64) {
  v1::GenerateRequest request;
  request.mutable_tokens()->mutable_ids()->Add(ids.begin(), ids.end());
  return PrefixKey(request, tokens);
}

TEST(PrefixKeyTest, WhatBeginsAlikeHasTheSame) {
  const std::string common(256, 'x');
  EXPECT_EQ(KeyOfText(common + "one"), KeyOfText(common + "another"));
  EXPECT_NE(KeyOfText(common + "one", 65), KeyOfText(common + "another", 65));
  EXPECT_NE(KeyOfText("one"), KeyOfText("another"));
  EXPECT_NE(KeyOfText("x"), KeyOfText("xx"));
  EXPECT_EQ(KeyOfIds({1, 2, 3}, 2), KeyOfIds({1, 2, 4, 5}, 2));
  EXPECT_NE(KeyOfIds({1, 2, 3}, 2), KeyOfIds({1, 3, 3}, 2));
  EXPECT_NE(KeyOfIds({1}), KeyOfIds({256}));
}

// Clients of other versions must send a prompt to the same server.
TEST(PrefixKeyTest, IsWhatItWas) {
  EXPECT_EQ(PrefixHeaderValue(KeyOfText("def main():\n")), "b6fedbfe495df3e0");
  EXPECT_EQ(PrefixHeaderValue(KeyOfIds({1, 2, 70000})), "62195e4b0e38a36c");
  EXPECT_EQ(PrefixHeaderValue(0x12), "0000000000000012");
}

}  // namespace
}  // namespace recurve::client
