// SPDX-License-Identifier: Apache-2.0
// Which request is which, without a server. Conversations need one: tests/e2e/load_tester_test.py.
#include "client/load/prompts.h"

#include <cstdio>

#include "client/load/write_file.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

RequestMaker Random() {
  RequestMaker maker;
  maker.vocab_size = 50;
  maker.prompt_tokens = Length::Parse("uniform:3:9").value();
  maker.max_tokens = Length::Parse("uniform:2:8").value();
  return maker;
}

TEST(PromptsTest, RandomRequestsAreOfTheirSeeds) {
  const RequestMaker maker = Random();
  RequestMaker other_prompts = maker, other_lengths = maker;
  other_prompts.prompt_seed = 1;
  other_lengths.load_seed = 1;
  bool lengths_differ = false;
  for (uint64_t index = 0; index < 20; ++index) {
    const v1::GenerateRequest request = maker.Make(index);
    EXPECT_EQ(request.SerializeAsString(), maker.Make(index).SerializeAsString());
    EXPECT_GE(request.tokens().ids_size(), 3);
    EXPECT_LE(request.tokens().ids_size(), 9);
    for (const uint32_t id : request.tokens().ids()) EXPECT_LT(id, 50U);
    EXPECT_TRUE(request.stop().ignore_eos());
    const v1::GenerateRequest same_length = other_prompts.Make(index);
    EXPECT_EQ(same_length.tokens().ids_size(), request.tokens().ids_size());
    EXPECT_EQ(same_length.stop().max_tokens(), request.stop().max_tokens());
    EXPECT_NE(same_length.SerializeAsString(), request.SerializeAsString());
    lengths_differ |= other_lengths.Make(index).tokens().ids_size() != request.tokens().ids_size();
  }
  EXPECT_TRUE(lengths_differ);
}

TEST(PromptsTest, ATraceSaysHowLong) {
  RequestMaker maker = Random();
  maker.trace = {{0, 20, 30}, {1}};
  EXPECT_EQ(maker.Make(0).tokens().ids_size(), 20);
  EXPECT_EQ(maker.Make(0).stop().max_tokens(), 30U);
  EXPECT_LE(maker.Make(1).tokens().ids_size(), 9);
  EXPECT_LE(maker.Make(2).stop().max_tokens(), 8U);
}

TEST(PromptsTest, TextsComeInTurn) {
  RequestMaker maker;
  maker.max_tokens = Length(7);
  maker.base.mutable_sampling()->set_seed(5);
  maker.prompts = {{"a"}, {"b", 3}};
  EXPECT_EQ(maker.Make(0).text(), "a");
  EXPECT_EQ(maker.Make(0).stop().max_tokens(), 7U);
  EXPECT_FALSE(maker.Make(0).stop().ignore_eos());
  EXPECT_EQ(maker.Make(3).text(), "b");
  EXPECT_EQ(maker.Make(3).stop().max_tokens(), 3U);
  EXPECT_TRUE(maker.Make(3).stop().ignore_eos());
  EXPECT_EQ(maker.Make(3).sampling().seed(), 5U);
}

TEST(PromptsTest, AFileHasAPromptALine) {
  const std::string path = testing::TempDir() + "/prompts.txt";
  ASSERT_TRUE(WriteFile(path, "one\n\ntwo").ok());
  const auto prompts = ReadPrompts(path);
  ASSERT_TRUE(prompts.ok());
  ASSERT_EQ(prompts->size(), 2U);
  EXPECT_EQ((*prompts)[1].text, "two");
  ASSERT_TRUE(WriteFile(path, "\n").ok());
  EXPECT_THAT(std::string(ReadPrompts(path).status().message()), HasSubstr("has no lines"));
  std::remove(path.c_str());
  EXPECT_FALSE(ReadPrompts(path).ok());
}

}  // namespace
}  // namespace recurve::client
