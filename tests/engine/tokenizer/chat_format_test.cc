// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/chat_format.h"

#include "gmock/gmock.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

class ChatFormatTest : public testing::Test {
 protected:
  void Config(const std::string& text) { directory_.Write("tokenizer_config.json", text); }
  ChatFormat Load() {
    auto format = LoadChatFormat(directory_.path());
    EXPECT_TRUE(format.ok()) << format.status();
    return format.ok() ? *std::move(format) : ChatFormat();
  }
  std::string Error() {
    const absl::Status status = LoadChatFormat(directory_.path()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }

  ScopedDirectory directory_;
};

TEST_F(ChatFormatTest, BothFilesMayBeMissing) {
  EXPECT_TRUE(Load().templates.empty());
  EXPECT_TRUE(Load().special_tokens.empty());
  Config("{}");
  EXPECT_TRUE(Load().templates.empty());
}

TEST_F(ChatFormatTest, ATemplateIsATextAndSpecialTokensAreTextsOrObjects) {
  Config(R"({"chat_template": "{{ messages }}", "bos_token": "<s>", "unk_token": null,
             "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false}})");
  const ChatFormat format = Load();
  ASSERT_EQ(format.templates.size(), 1U);
  EXPECT_EQ(format.templates[0].name, "default");
  EXPECT_EQ(format.templates[0].text, "{{ messages }}");
  EXPECT_THAT(format.special_tokens,
              UnorderedElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "</s>")));
}

TEST_F(ChatFormatTest, TemplatesMayHaveNamesAndTheJinjaFileIsTheDefaultOne) {
  Config(R"({"chat_template": [{"name": "default", "template": "a"},
                               {"name": "tool_use", "template": "b"}]})");
  ASSERT_EQ(Load().templates.size(), 2U);
  EXPECT_EQ(Load().templates[1].name, "tool_use");
  EXPECT_EQ(Load().templates[1].text, "b");
  directory_.Write("chat_template.jinja", "c");
  const ChatFormat format = Load();
  ASSERT_EQ(format.templates.size(), 2U);
  EXPECT_EQ(format.templates[0].text, "b");
  EXPECT_EQ(format.templates[1].name, "default");
  EXPECT_EQ(format.templates[1].text, "c");
}

TEST_F(ChatFormatTest, ErrorsNameFileAndField) {
  Config("[]");
  EXPECT_THAT(Error(), HasSubstr("tokenizer_config.json: it is an array"));
  Config(R"({"chat_template": 7})");
  EXPECT_THAT(Error(), HasSubstr("chat_template is 7, expected a string or a list"));
  Config(R"({"chat_template": [{"name": "default"}]})");
  EXPECT_THAT(Error(), HasSubstr("chat_template[0]"));
  Config(R"({"bos_token": ["<s>"]})");
  EXPECT_THAT(Error(), HasSubstr("bos_token is [\"<s>\"], expected a string"));
  Config(R"({"chat_template": ")" + std::string(kMaxChatTemplateBytes + 1, 'x') + "\"}");
  EXPECT_THAT(Error(), HasSubstr("chat_template has 262145 bytes; a chat template has at most"));
  Config("{}");
  directory_.Write("chat_template.jinja", std::string(kMaxChatTemplateBytes + 1, 'x'));
  EXPECT_THAT(Error(), HasSubstr("chat_template.jinja"));
  directory_.Write("chat_template.jinja", "\xFF");
  EXPECT_THAT(Error(), HasSubstr("chat_template.jinja is not UTF-8"));
}

}  // namespace
}  // namespace recurve
