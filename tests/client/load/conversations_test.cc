// SPDX-License-Identifier: Apache-2.0
#include "client/load/conversations.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(ConversationsTest, TakesTheFirstExchangeOfEach) {
  const auto exchanges = ParseShareGpt(R"([
      {"id": "a", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
                                    {"from": "human", "value": "And?"}]},
      {"id": "reply first", "conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "y"}]},
      {"id": "no reply", "conversations": [{"from": "human", "value": "x"}]},
      {"id": "empty", "conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": "y"}]},
      {"id": "others", "conversations": [{"from": "user", "value": "é"}, {"from": "assistant", "value": "ok"}]},
      {"conversations": [{"from": 1, "value": "x"}, 5]}, {"conversations": "x"}, {}, 7, null
    ])");
  ASSERT_TRUE(exchanges.ok()) << exchanges.status();
  ASSERT_EQ(exchanges->size(), 2U);
  EXPECT_EQ((*exchanges)[0].prompt, "Hi");
  EXPECT_EQ((*exchanges)[0].reply, "Hello");
  EXPECT_EQ((*exchanges)[1].prompt, "é");
}

TEST(ConversationsTest, SaysWhatIsWrong) {
  for (const char* text : {"", "{}", "[", "x"}) {
    EXPECT_THAT(std::string(ParseShareGpt(text).status().message()), HasSubstr("no JSON array"));
  }
  EXPECT_THAT(std::string(ParseShareGpt("[1, {}]").status().message()),
              HasSubstr("none of its 2 entries"));
}

}  // namespace
}  // namespace recurve::client
