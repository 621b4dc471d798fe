// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/chat_renderer.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Long enough for a busy machine; no test waits for it that need not.
constexpr std::chrono::milliseconds kPatience(60000);

v1::GetModelInfoResponse ModelWith(const std::string& text, const std::string& name = "default") {
  v1::GetModelInfoResponse model;
  model.set_model_name("m");
  auto* chat = model.add_chat_templates();
  chat->set_name(name);
  chat->set_text(text);
  (*model.mutable_special_tokens())["bos_token"] = "<s>";
  (*model.mutable_special_tokens())["eos_token"] = "</s>";
  return model;
}

// One of the folder `templates`.
v1::GetModelInfoResponse Model(const std::string& name) {
  std::ifstream file(std::string(RECURVE_TEMPLATES) + "/" + name + ".jinja");
  EXPECT_TRUE(file.good()) << name;
  return ModelWith({std::istreambuf_iterator<char>(file), {}});
}

json Conversation() {
  return {{{"role", "user"}, {"content", "Hi <b>\"ä\""}},
          {{"role", "assistant"}, {"content", "Hello."}},
          {{"role", "user"}, {"content", " Go on. "}}};
}

class ChatRendererTest : public testing::Test {
 protected:
  std::string Render(const v1::GetModelInfoResponse& model, const json& messages,
                     bool add_generation_prompt = true) {
    const auto text = renderer_.Render(model, messages, add_generation_prompt);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }
  absl::Status Error(const v1::GetModelInfoResponse& model, const json& messages) {
    return renderer_.Render(model, messages, true).status();
  }

  ChatRenderer renderer_{"python3", kPatience};
};

TEST_F(ChatRendererTest, SmolLm2) {
  EXPECT_EQ(Render(Model("smollm2"), Conversation()),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi <b>\"ä\"<|im_end|>\n<|im_start|>assistant\n"
            "Hello.<|im_end|>\n<|im_start|>user\n Go on. <|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(ChatRendererTest, Qwen2) {
  const json messages = {{{"role", "system"}, {"content", "Be brief."}},
                         {{"role", "user"}, {"content", "Hi"}}};
  const std::string text =
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n";
  EXPECT_EQ(Render(Model("qwen2"), messages, false), text);
  EXPECT_EQ(Render(Model("qwen2"), messages), text + "<|im_start|>assistant\n");
}

TEST_F(ChatRendererTest, MistralAndWhatItRefuses) {
  EXPECT_EQ(Render(Model("mistral"), Conversation()),
            "<s>[INST] Hi <b>\"ä\" [/INST]Hello.</s>[INST]  Go on.  [/INST]");
  const absl::Status refused =
      Error(Model("mistral"), {{{"role", "assistant"}, {"content", "Hi"}}});
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("roles must alternate"));
}

TEST_F(ChatRendererTest, TemplatesAsLlama3sAre) {
  const json messages = {
      {{"role", "system"}, {"content", " Be brief. "}},
      {{"role", "user"}, {"content", "Hi"}},
      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", json::array({{{"id", 1}}})}},
      {{"role", "tool"}, {"content", "<ä>"}}};
  EXPECT_EQ(
      Render(Model("headers"), messages),
      "<s><|start_header_id|>system<|end_header_id|>\n\nYear: 4 digits.\n\nBe brief.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n[\n  {\n    \"id\": 1\n  }\n]<|eot_id|>"
      "<|start_header_id|>ipython<|end_header_id|>\n\n\"<ä>\"<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST_F(ChatRendererTest, WhatTransformersAddsToJinja) {
  const json messages = {{{"role", "skip"}, {"content", "1"}},
                         {{"role", "user"}, {"content", "<ä>"}},
                         {{"role", "assistant"}, {"content", "b"}},
                         {{"role", "stop"}, {"content", "2"}},
                         {{"role", "user"}, {"content", "3"}}};
  EXPECT_THAT(Render(Model("features"), messages),
              HasSubstr("<user>\"<ä>\"</user>\n<a>b</a>\n[{\"content\":\"1\",\"role\":\"skip\"}"));
}

TEST_F(ChatRendererTest, NoTemplateIsAnErrorThatSaysSo) {
  const absl::Status none = Error({}, Conversation());
  EXPECT_TRUE(absl::IsInvalidArgument(none)) << none;
  EXPECT_THAT(std::string(none.message()), HasSubstr("has no chat template"));
  EXPECT_THAT(std::string(Error(ModelWith("x", "tool_use"), Conversation()).message()),
              HasSubstr("no chat template of the name default"));
}

TEST_F(ChatRendererTest, AFaultyTemplateIsTheModelsAndFaultyMessagesAreTheClients) {
  EXPECT_TRUE(absl::IsInternal(Error(ModelWith("{% if %}"), Conversation())));
  const absl::Status escape =
      Error(ModelWith("{{ ().__class__.__base__.__subclasses__() }}"), Conversation());
  EXPECT_THAT(std::string(escape.message()), HasSubstr("SecurityError"));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Error(ModelWith("{{ messages[0].content + 1 }}"), Conversation())));
  EXPECT_EQ(Render(ModelWith("{{ messages[0].role }}"), Conversation()), "user");  // and it goes on
}

TEST_F(ChatRendererTest, ATemplateCanNeitherFillMemoryNorTheAnswer) {
  EXPECT_TRUE(absl::IsInternal(Error(ModelWith("{{ 'a' * 1000000000 }}"), Conversation())));
  const absl::Status large =
      Error(ModelWith("{% for i in range(99999) %}{{ 'a' * 100 }}{% endfor %}"), Conversation());
  EXPECT_THAT(std::string(large.message()), HasSubstr("more than 4194304 characters"));
  EXPECT_EQ(Render(ModelWith("x"), Conversation()), "x");
}

TEST(ChatRenderer, ATemplateThatDoesNotEndIsEnded) {
  const std::string nothing = "{% for i in range(99999) %}";
  const std::string loops = nothing + nothing + nothing + "{% endfor %}{% endfor %}{% endfor %}";
  ChatRenderer renderer("python3", std::chrono::milliseconds(300));
  ASSERT_TRUE(renderer.Check().ok());
  const absl::Status ended = renderer.Render(ModelWith(loops), Conversation(), true).status();
  EXPECT_TRUE(absl::IsInternal(ended)) << ended;
  EXPECT_THAT(std::string(ended.message()), HasSubstr("longer than 300 ms (--template_timeout)"));
  ASSERT_TRUE(renderer.Check().ok());  // another process
}

TEST(ChatRenderer, AnInterpreterThatIsNoneIsNamed) {
  const absl::Status none = ChatRenderer("/no/such/python", kPatience).Check();
  EXPECT_THAT(std::string(none.message()), HasSubstr("cannot run --python=/no/such/python"));
  const absl::Status mute = ChatRenderer("true", kPatience).Check();
  EXPECT_THAT(std::string(mute.message()), HasSubstr("--python=true cannot render"));
}

}  // namespace
}  // namespace recurve::gateway
