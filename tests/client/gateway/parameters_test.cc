// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/parameters.h"

#include <string>

#include "client/gateway/api_error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

CompletionTerms Completion(const std::string& body) {
  auto terms = ParseCompletion(body);
  EXPECT_TRUE(terms.ok()) << terms.status();
  return terms.ok() ? *std::move(terms) : CompletionTerms();
}

ChatTerms Chat(const std::string& body) {
  auto terms = ParseChat(body);
  EXPECT_TRUE(terms.ok()) << terms.status();
  return terms.ok() ? *std::move(terms) : ChatTerms();
}

// The error as a client sees it.
json Error(const absl::Status& status) {
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(HttpStatusOf(status), 400);
  return status.ok() ? json() : json::parse(ErrorJson(status))["error"];
}

TEST(CompletionParametersTest, DefaultsAreOpenAis) {
  const CompletionTerms terms = Completion(R"({"prompt": "a"})");
  EXPECT_THAT(terms.prompts, ElementsAre(Prompt("a")));
  EXPECT_EQ(terms.request.sampling().temperature(), 1);
  EXPECT_EQ(terms.request.stop().max_tokens(), 16U);
  EXPECT_FALSE(terms.request.sampling().has_seed());
  EXPECT_FALSE(terms.stream || terms.echo || terms.logprobs);
}

TEST(CompletionParametersTest, PromptsAreTextsOrIds) {
  EXPECT_THAT(Completion(R"({"prompt": ["a", "b"]})").prompts,
              ElementsAre(Prompt("a"), Prompt("b")));
  EXPECT_THAT(Completion(R"({"prompt": [1, 2]})").prompts, ElementsAre(Prompt(TokenIds{1, 2})));
  EXPECT_THAT(Completion(R"({"prompt": [[1, 2], [3]]})").prompts,
              ElementsAre(Prompt(TokenIds{1, 2}), Prompt(TokenIds{3})));
  for (const char* bad : {"7", "[]", "{}", R"(["a", 1])", "[1, \"a\"]", "[[1], \"a\"]", "[-1]",
                          "[1.5]", "[4294967296]", "[null]", "[[[1]]]"}) {
    const json error = Error(ParseCompletion(absl::StrCat("{\"prompt\": ", bad, "}")).status());
    EXPECT_EQ(error["param"], "prompt") << bad;
  }
  EXPECT_EQ(Error(ParseCompletion("{}").status())["code"], "missing_parameter");
}

TEST(CompletionParametersTest, EveryParameterSetsItsTerm) {
  const CompletionTerms terms = Completion(R"({
      "model": "m", "user": "u", "prompt": "a", "temperature": 0.5, "top_p": 0.25, "min_p": 0.125,
      "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.5, "top_k": 7,
      "seed": -1, "stop": ["x", "y"], "stop_token_ids": [5], "logit_bias": {"6": -100},
      "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true},
      "n": 2, "max_tokens": 3, "min_tokens": 1, "ignore_eos": true, "skip_special_tokens": false,
      "include_stop_str_in_output": true, "echo": true, "add_special_tokens": false})");
  EXPECT_EQ(terms.model, "m");
  EXPECT_EQ(terms.user, "u");
  EXPECT_TRUE(terms.stream && terms.include_usage && terms.usage_in_each_chunk && terms.echo);
  const v1::GenerateRequest& request = terms.request;
  EXPECT_EQ(request.samples(), 2U);
  EXPECT_FALSE(request.add_special_tokens());
  EXPECT_EQ(request.sampling().temperature(), 0.5F);
  EXPECT_EQ(request.sampling().top_p(), 0.25F);
  EXPECT_EQ(request.sampling().min_p(), 0.125F);
  EXPECT_EQ(request.sampling().presence_penalty(), 1);
  EXPECT_EQ(request.sampling().frequency_penalty(), -1);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1.5F);
  EXPECT_EQ(request.sampling().top_k(), 7U);
  EXPECT_EQ(request.sampling().seed(), ~uint64_t{0});
  EXPECT_EQ(request.sampling().logit_bias().at(6), -100);
  EXPECT_THAT(request.stop().stop_strings(), ElementsAre("x", "y"));
  EXPECT_THAT(request.stop().stop_token_ids(), ElementsAre(5U));
  EXPECT_EQ(request.stop().max_tokens(), 3U);
  EXPECT_EQ(request.stop().min_tokens(), 1U);
  EXPECT_TRUE(request.stop().ignore_eos() && request.stop().include_stop_string());
  EXPECT_FALSE(request.output().skip_special_tokens());
}

TEST(CompletionParametersTest, TheExtensionSetsDepthsAndTheKnobsOfRecursion) {
  const CompletionTerms terms = Completion(R"({"prompt": "a", "recurve": {"depths": true,
      "max_recursions": 2, "router_threshold": 0.25, "adaptive_min": 1}})");
  EXPECT_TRUE(terms.depths);
  EXPECT_EQ(terms.request.recursion().max_recursions(), 2U);
  EXPECT_EQ(terms.request.recursion().router_threshold(), 0.25F);
  EXPECT_EQ(terms.request.recursion().adaptive_min(), 1U);
  const CompletionTerms none =
      Completion(R"({"prompt": "a", "recurve": {"depths": null, "max_recursions": null}})");
  EXPECT_FALSE(none.depths || none.request.recursion().has_max_recursions());
  for (const char* bad :
       {R"("depths": 1)", R"("max_recursions": -1)", R"("max_recursions": "2")",
        R"("router_threshold": "x")", R"("adaptive_min": 0.5)", R"("depth": true)"}) {
    const std::string name = std::string(bad).substr(1, std::string(bad).find('"', 1) - 1);
    const json error = Error(
        ParseCompletion(absl::StrCat("{\"prompt\": \"a\", \"recurve\": {", bad, "}}")).status());
    EXPECT_EQ(error["param"], "recurve." + name) << error;
  }
  EXPECT_EQ(Error(ParseCompletion(R"({"prompt": "a", "recurve": true})").status())["param"],
            "recurve");
}

TEST(CompletionParametersTest, NullIsAsGoodAsLeftOut) {
  const CompletionTerms terms = Completion(
      R"({"prompt": "a", "temperature": null, "stop": null, "suffix": null, "n": null})");
  EXPECT_EQ(terms.request.sampling().temperature(), 1);
  EXPECT_FALSE(terms.request.has_samples());
  EXPECT_FALSE(
      Completion(R"({"prompt": "a", "stream_options": {"include_usage": null}})").include_usage);
}

TEST(CompletionParametersTest, LogprobsAreTheSampledTokensAndSoManyOthers) {
  const CompletionTerms none = Completion(R"({"prompt": "a", "logprobs": 0})");
  EXPECT_TRUE(none.request.output().logprobs());
  EXPECT_EQ(none.logprobs, 0U);
  EXPECT_EQ(Completion(R"({"prompt": "a", "logprobs": 5})").request.output().top_logprobs(), 5U);
}

TEST(CompletionParametersTest, WhatIsNotImplementedOrNotKnownIsNamed) {
  json error = Error(ParseCompletion(R"({"prompt": "a", "suffix": "b"})").status());
  EXPECT_EQ(error["param"], "suffix");
  EXPECT_EQ(error["code"], "unsupported_parameter");
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["message"], "suffix is not implemented here; leave it out");
  error = Error(ParseCompletion(R"({"prompt": "a", "temprature": 1})").status());
  EXPECT_EQ(error["param"], "temprature");
  EXPECT_EQ(error["code"], "unknown_parameter");
  error = Error(ParseCompletion(R"({"prompt": "a", "messages": []})").status());
  EXPECT_EQ(error["param"], "messages");
  error = Error(
      ParseCompletion(R"({"prompt": "a", "stream": true, "stream_options": {"x": 1}})").status());
  EXPECT_EQ(error["param"], "stream_options.x");
}

TEST(CompletionParametersTest, ValuesOfOtherTypesAreRefused) {
  for (const char* bad :
       {R"("temperature": "1")", R"("max_tokens": 1.5)", R"("max_tokens": -1)", R"("n": true)",
        R"("stream": 1)", R"("stop": 5)", R"("stop": [5])", R"("seed": 1.5)",
        R"("logit_bias": [1])", R"("logit_bias": {"a": 1})", R"("logit_bias": {"1": "a"})",
        R"("top_k": -2)", R"("user": 1)", R"("stream_options": {"include_usage": true})"}) {
    const std::string name = std::string(bad).substr(1, std::string(bad).find('"', 1) - 1);
    const json error =
        Error(ParseCompletion(absl::StrCat("{\"prompt\": \"a\", ", bad, "}")).status());
    EXPECT_EQ(error["param"], name) << error;
  }
}

TEST(CompletionParametersTest, BodiesThatAreNoObjectsAreRefused) {
  for (const char* bad : {"", "[]", "{", "{\"prompt\": \"\xFF\"}", "{\"prompt\": \"\\ud800\"}",
                          R"({"prompt": "a", "prompt": "b"})"}) {
    const json error = Error(ParseCompletion(bad).status());
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("the request's body")) << bad;
  }
  const std::string deep = "{\"prompt\": " + std::string(1000000, '[');
  EXPECT_THAT(Error(ParseCompletion(deep).status())["message"].get<std::string>(),
              HasSubstr("nested deeper"));
}

TEST(ChatParametersTest, MessagesAndTheirParts) {
  const ChatTerms terms = Chat(R"({"messages": [
      {"role": "system", "content": "s"},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null, "tool_calls": []}]})");
  EXPECT_EQ(terms.messages[1]["content"], "a\nb");
  EXPECT_TRUE(terms.messages[2]["content"].is_null());
  EXPECT_TRUE(terms.add_generation_prompt);
  EXPECT_FALSE(terms.request.add_special_tokens());
  EXPECT_FALSE(terms.request.stop().has_max_tokens());
  for (const char* bad :
       {"[]", "7", "[7]", "[{}]", R"([{"role": 1}])", R"([{"role": "user", "content": 1}])",
        R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])",
        R"([{"role": "user", "content": [{"type": "text"}]}])"}) {
    const json error = Error(ParseChat(absl::StrCat("{\"messages\": ", bad, "}")).status());
    EXPECT_EQ(error["param"], "messages") << bad;
  }
}

TEST(ChatParametersTest, ItsOwnParameters) {
  const std::string head = R"({"messages": [{"role": "user", "content": "a"}], )";
  EXPECT_EQ(Chat(head + R"("max_completion_tokens": 5})").request.stop().max_tokens(), 5U);
  const ChatTerms logprobs = Chat(head + R"("logprobs": true, "top_logprobs": 3})");
  EXPECT_TRUE(logprobs.logprobs && logprobs.request.output().logprobs());
  EXPECT_EQ(logprobs.request.output().top_logprobs(), 3U);
  EXPECT_EQ(Error(ParseChat(head + R"("top_logprobs": 3})").status())["param"], "top_logprobs");
  EXPECT_EQ(Error(ParseChat(head + R"("tools": [{}]})").status())["param"], "tools");
  EXPECT_TRUE(ParseChat(head + R"("tools": [], "tool_choice": "none", "return_hidden_states": false,
      "separate_reasoning": true, "response_format": {"type": "text"}})")
                  .ok());
  EXPECT_EQ(Error(ParseChat(head + R"("return_hidden_states": true})").status())["code"],
            "unsupported_parameter");
  EXPECT_EQ(Error(ParseChat(head + R"("prompt": "a"})").status())["param"], "prompt");
  EXPECT_EQ(
      Error(ParseChat(head + R"("max_tokens": 1, "max_completion_tokens": 1})").status())["param"],
      "max_tokens");
}

TEST(TokenizeParametersTest, APromptOrMessages) {
  EXPECT_EQ(ParseTokenize(R"({"prompt": "a"})")->prompt, "a");
  EXPECT_TRUE(ParseTokenize(R"({"messages": [{"role": "user"}]})")->messages.has_value());
  EXPECT_EQ(Error(ParseTokenize("{}").status())["param"], "prompt");
  EXPECT_EQ(Error(ParseTokenize(R"({"prompt": "a", "n": 1})").status())["param"], "n");
  EXPECT_THAT(ParseDetokenize(R"({"tokens": [1, 2]})")->tokens, ElementsAre(1U, 2U));
  EXPECT_EQ(Error(ParseDetokenize("{}").status())["param"], "tokens");
}

TEST(ApiErrorTest, TheServersFieldsGetTheirNamesHere) {
  const auto error = [](const std::string& message) {
    return json::parse(ErrorJson(WithParamNames(absl::InvalidArgumentError(message))))["error"];
  };
  EXPECT_EQ(error("samples is 99; it must be 1")["param"], "n");
  EXPECT_EQ(error("samples is 99; it must be 1")["message"], "n is 99; it must be 1");
  EXPECT_EQ(error("sampling.top_p is 2")["message"], "top_p is 2");
  EXPECT_EQ(error("stop_strings[3] is empty")["message"], "stop[3] is empty");
  EXPECT_TRUE(error("something else is wrong")["param"].is_null());
}

}  // namespace
}  // namespace recurve::gateway
