// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/answer.h"

#include <limits>
#include <string>

#include "client/gateway/token_logprobs.h"
#include "gtest/gtest.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

constexpr auto kInfinity = std::numeric_limits<float>::infinity();

void Fill(float logprob, const std::vector<std::tuple<uint32_t, float, std::string>>& top,
          v1::PositionLogprobs* position) {
  position->set_logprob(logprob);
  for (const auto& [id, other, text] : top) {
    auto* one = position->add_top();
    one->set_id(id);
    one->set_logprob(other);
    one->set_text(text);
  }
}

// Tokens of ids 1, 2, ... with these texts, each with the log probability -1 and, at its place, a
// token 9 with -0.5.
v1::GenerateResponse Message(const std::vector<std::string>& texts, uint32_t sample = 0) {
  v1::GenerateResponse message;
  message.set_sample(sample);
  uint32_t id = 0;
  for (const std::string& text : texts) {
    message.mutable_text()->append(text);
    v1::Token* token = message.add_tokens();
    token->set_id(++id);
    token->set_text_bytes(static_cast<uint32_t>(text.size()));
    Fill(-1, {{9, -0.5F, "nine"}}, token->mutable_logprobs());
  }
  message.mutable_usage()->set_prompt_tokens(3);
  message.mutable_usage()->set_generated_tokens(id);
  return message;
}

v1::GenerateResponse End(v1::GenerateResponse message, v1::FinishReason reason) {
  message.mutable_final()->set_finish_reason(reason);
  message.mutable_final()->set_cached_tokens(2);
  return message;
}

v1::GenerateResponse WithPromptLogprobs(v1::GenerateResponse message) {
  Fill(-2, {{9, -0.25F, "nine"}}, message.add_prompt_logprobs());
  return message;
}

AnswerHead Head() { return {.id = "cmpl-1", .created = 7, .model = "m", .fingerprint = "f"}; }

CompletionTerms Terms(std::optional<uint32_t> logprobs = std::nullopt, uint32_t samples = 1) {
  CompletionTerms terms;
  terms.logprobs = logprobs;
  terms.request.set_samples(samples);
  return terms;
}

json Whole(Answer& answer, const std::vector<v1::GenerateResponse>& messages) {
  for (const auto& message : messages) {
    const json delta = answer.Take(0, message);
    if (!delta.is_null()) answer.Add(delta);
  }
  return json::parse(answer.Whole());
}

TEST(CompletionAnswerTest, WholeOnesAreTheSumOfTheirMessages) {
  const auto answer = MakeCompletionAnswer(Head(), Terms(), {});
  const json whole =
      Whole(*answer, {Message({"a"}), End(Message({"b", "c"}), v1::FINISH_REASON_STOP_STRING)});
  EXPECT_EQ(whole["object"], "text_completion");
  EXPECT_EQ(whole["id"], "cmpl-1");
  EXPECT_EQ(whole["model"], "m");
  EXPECT_EQ(whole["system_fingerprint"], "f");
  ASSERT_EQ(whole["choices"].size(), 1U);
  EXPECT_EQ(whole["choices"][0]["text"], "abc");
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(whole["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(whole["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(whole["usage"]["completion_tokens"], 2);
  EXPECT_EQ(whole["usage"]["total_tokens"], 5);
  EXPECT_EQ(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

TEST(CompletionAnswerTest, ChoicesAreCountedPromptByPrompt) {
  const auto answer = MakeCompletionAnswer(Head(), Terms(std::nullopt, 2), {});
  EXPECT_EQ(answer->Take(1, Message({"a"}, 1))["index"], 3);
  EXPECT_EQ(answer->Take(1, Message({"a"}, 0))["index"], 2);
  EXPECT_EQ(answer->Take(0, End(Message({"a"}, 1), v1::FINISH_REASON_LENGTH))["finish_reason"],
            "length");
  EXPECT_EQ(answer->generated_tokens(), 3U);
  EXPECT_EQ(answer->prompt_tokens(), 6U);  // of each prompt that has been heard of, once
}

TEST(CompletionAnswerTest, LogprobsAreListsWithOffsetsInCharacters) {
  const auto answer = MakeCompletionAnswer(Head(), Terms(1), {});
  const json whole = Whole(*answer, {Message({"ä", "b"}), Message({"c"})});
  const json& lists = whole["choices"][0]["logprobs"];
  EXPECT_EQ(lists["tokens"], (json{"ä", "b", "c"}));
  EXPECT_EQ(lists["text_offset"], (json{0, 1, 2}));
  EXPECT_EQ(lists["token_logprobs"], (json{-1.0, -1.0, -1.0}));
  // The sampled one is told too, where it is not among the most likely.
  EXPECT_EQ(lists["top_logprobs"][0], (json{{"nine", -0.5}, {"ä", -1.0}}));
}

// A character of several tokens belongs to the last of them, whatever each is by itself.
TEST(CompletionAnswerTest, OffsetsAreOfTheTextWhereTokensArePartsOfCharacters) {
  CompletionTerms terms = Terms(1);
  terms.echo = true;
  const std::string part = "\xEF\xBF\xBD";
  const auto answer = MakeCompletionAnswer(Head(), terms, {{.text = "ü", .tokens = {part, part}}});
  v1::GenerateResponse message = Message({"", "ä", "b"});
  for (const int i : {0, 1}) {
    auto* const top = message.mutable_tokens(i)->mutable_logprobs()->mutable_top(0);
    top->set_id(message.tokens(i).id());
    top->set_text(part);
  }
  const json whole = Whole(*answer, {message});
  EXPECT_EQ(whole["choices"][0]["text"], "üäb");
  const json& lists = whole["choices"][0]["logprobs"];
  EXPECT_EQ(lists["tokens"], (json{part, part, "b"}));
  EXPECT_EQ(lists["text_offset"], (json{1, 1, 2}));
}

TEST(CompletionAnswerTest, OffsetsOfAnEchoStayInItsText) {
  CompletionTerms terms = Terms(1);
  terms.echo = true;
  const std::string part = "\xEF\xBF\xBD";
  const auto answer =
      MakeCompletionAnswer(Head(), terms, {{.text = "ü", .tokens = {part, part, part}}});
  const json whole = Whole(*answer, {WithPromptLogprobs(Message({"y"}))});
  EXPECT_EQ(whole["choices"][0]["logprobs"]["text_offset"], (json{0, 1, 1, 1}));
}

TEST(CompletionAnswerTest, WithoutOthersThereAreTheSampledOnesAlone) {
  const auto answer = MakeCompletionAnswer(Head(), Terms(0), {});
  const json lists = Whole(*answer, {Message({"a"})})["choices"][0]["logprobs"];
  EXPECT_EQ(lists["token_logprobs"], (json{-1.0}));
  EXPECT_EQ(lists["top_logprobs"], (json{nullptr}));
}

TEST(CompletionAnswerTest, AnEchoStandsBeforeEachChoice) {
  CompletionTerms terms = Terms(1, 2);
  terms.echo = true;
  const auto answer = MakeCompletionAnswer(Head(), terms, {{.text = "ä+", .tokens = {"ä", "+"}}});
  const json whole = Whole(*answer, {Message({"x"}, 1), WithPromptLogprobs(Message({"y"}, 0))});
  for (int i : {0, 1}) {
    const json& choice = whole["choices"][i];
    EXPECT_EQ(choice["text"], i == 0 ? "ä+y" : "ä+x");
    EXPECT_EQ(choice["logprobs"]["tokens"], (json{"ä", "+", i == 0 ? "y" : "x"}));
    EXPECT_EQ(choice["logprobs"]["token_logprobs"], (json{nullptr, -2.0, -1.0}));
    EXPECT_EQ(choice["logprobs"]["text_offset"], (json{0, 1, 2}));
    EXPECT_TRUE(choice["logprobs"]["top_logprobs"][0].is_null());
    EXPECT_EQ(choice["logprobs"]["top_logprobs"][1], (json{{"nine", -0.25}, {"+", -2.0}}));
  }
}

TEST(CompletionAnswerTest, AnEchoIsInTheFirstChunkOfAStream) {
  CompletionTerms terms = Terms(1);
  terms.echo = terms.stream = true;
  const auto answer = MakeCompletionAnswer(Head(), terms, {{.text = "p+", .tokens = {"p", "+"}}});
  const json first = answer->Take(0, WithPromptLogprobs({}));
  EXPECT_EQ(first["text"], "p+");
  EXPECT_EQ(first["logprobs"]["tokens"], (json{"p", "+"}));
  const json second = answer->Take(0, Message({"x"}));
  EXPECT_EQ(second["text"], "x");
  EXPECT_EQ(second["logprobs"]["text_offset"], (json{2}));
}

TEST(CompletionAnswerTest, AnEchoOfOneTokenHasItInItsLists) {
  CompletionTerms terms = Terms(1);
  terms.echo = true;
  const std::vector<PromptEcho> echoes = {{.text = "p", .tokens = {"p"}}};
  const json whole = Whole(*MakeCompletionAnswer(Head(), terms, echoes), {Message({"x"})});
  const json& lists = whole["choices"][0]["logprobs"];
  EXPECT_EQ(lists["tokens"], (json{"p", "x"}));
  EXPECT_EQ(lists["token_logprobs"], (json{nullptr, -1.0}));
  EXPECT_EQ(lists["text_offset"], (json{0, 1}));
  terms.stream = true;
  const json first = MakeCompletionAnswer(Head(), terms, echoes)->Take(0, Message({"x"}));
  EXPECT_EQ(first["logprobs"], lists);
}

// As where its tokens are all special ones, or their text is skipped.
TEST(CompletionAnswerTest, AnEchoWithoutTextHasItsLogprobsInAStreamToo) {
  CompletionTerms terms = Terms(1);
  terms.echo = terms.stream = true;
  const auto answer = MakeCompletionAnswer(Head(), terms, {{.text = "", .tokens = {"", ""}}});
  const json first = answer->Take(0, WithPromptLogprobs({}));
  ASSERT_FALSE(first.is_null());
  EXPECT_EQ(first["logprobs"]["token_logprobs"], (json{nullptr, -2.0}));
}

TEST(CompletionAnswerTest, AMessageThatSaysNothingIsNoChunk) {
  const auto answer = MakeCompletionAnswer(Head(), Terms(), {});
  EXPECT_TRUE(answer->Take(0, {}).is_null());
  const json last = answer->Take(0, End({}, v1::FINISH_REASON_END_OF_SEQUENCE));
  EXPECT_EQ(last["text"], "");
  EXPECT_EQ(last["finish_reason"], "stop");
}

// With depths 1, 2, ...
v1::GenerateResponse WithDepths(v1::GenerateResponse message) {
  uint32_t depth = 0;
  for (v1::Token& token : *message.mutable_tokens()) token.set_depth(++depth);
  return message;
}

TEST(ExtensionTest, TokensHaveTheirDepthsAndSharesOfTheText) {
  CompletionTerms terms = Terms(0);
  terms.depths = true;
  const auto answer = MakeCompletionAnswer(Head(), terms, {});
  v1::GenerateResponse bare = WithDepths(Message({"c"}));
  bare.mutable_tokens(0)->clear_logprobs();
  const json whole =
      Whole(*answer, {WithDepths(Message({"ä", "b"})), bare, End({}, v1::FINISH_REASON_LENGTH)});
  EXPECT_EQ(whole["choices"][0]["recurve"]["tokens"],
            (json{{{"id", 1}, {"text", "ä"}, {"depth", 1}, {"logprob", -1.0}},
                  {{"id", 2}, {"text", "b"}, {"depth", 2}, {"logprob", -1.0}},
                  {{"id", 1}, {"text", "c"}, {"depth", 1}}}));
}

TEST(ExtensionTest, ChunksOfChatsHaveItWhereItIsAskedFor) {
  ChatTerms terms;
  EXPECT_FALSE(MakeChatAnswer(Head(), terms)->Take(0, Message({"a"})).contains("recurve"));
  terms.depths = true;
  const json delta = MakeChatAnswer(Head(), terms)->Take(0, WithDepths(Message({"a"})));
  EXPECT_EQ(delta["recurve"]["tokens"][0]["depth"], 1);
}

TEST(TokenLogprobsTest, ATokenAmongTheMostLikelyHasTheTextThatItHasAlone) {
  v1::GenerateResponse message;  // the first of two tokens that make one character
  v1::Token* token = message.add_tokens();
  token->set_id(4);
  Fill(-kInfinity, {{4, -kInfinity, "\xEF\xBF\xBD"}}, token->mutable_logprobs());
  const std::vector<TokenLogprobs> tokens = TokensOf(message);
  ASSERT_EQ(tokens.size(), 1U);
  EXPECT_EQ(tokens[0].text, "\xEF\xBF\xBD");
  EXPECT_EQ(tokens[0].logprob, -9999);  // JSON has no infinity
}

TEST(ChatAnswerTest, WholeOnesAreMessages) {
  ChatTerms terms;
  terms.logprobs = true;
  const auto answer = MakeChatAnswer(Head(), terms);
  const json whole =
      Whole(*answer, {Message({"a"}), Message({"b"}), End({}, v1::FINISH_REASON_LENGTH)});
  EXPECT_EQ(whole["object"], "chat.completion");
  const json& choice = whole["choices"][0];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "ab");
  EXPECT_EQ(choice["finish_reason"], "length");
  ASSERT_EQ(choice["logprobs"]["content"].size(), 2U);
  const json& token = choice["logprobs"]["content"][0];
  EXPECT_EQ(token["token"], "a");
  EXPECT_EQ(token["bytes"], (json{97}));
  EXPECT_EQ(token["top_logprobs"][0]["token"], "nine");
}

// The bytes of a part of a character are not known: those of U+FFFD would be wrong ones.
TEST(ChatAnswerTest, PartsOfCharactersHaveNoBytes) {
  ChatTerms terms;
  terms.logprobs = true;
  v1::GenerateResponse message;
  v1::Token* const token = message.add_tokens();
  token->set_id(4);
  Fill(-1, {{4, -1, " \xEF\xBF\xBD"}}, token->mutable_logprobs());
  const json delta = MakeChatAnswer(Head(), terms)->Take(0, message);
  const json& entry = delta["logprobs"]["content"][0];
  EXPECT_EQ(entry["token"], " \xEF\xBF\xBD");
  EXPECT_TRUE(entry["bytes"].is_null());
  EXPECT_TRUE(entry["top_logprobs"][0]["bytes"].is_null());
}

TEST(ChatAnswerTest, StreamsBeginWithTheRoleAndEndWithAnEmptyDelta) {
  const auto answer = MakeChatAnswer(Head(), {});
  json delta = answer->Take(0, Message({"a"}));
  EXPECT_EQ(delta["delta"], (json{{"role", "assistant"}, {"content", "a"}}));
  EXPECT_TRUE(delta["finish_reason"].is_null());
  delta = answer->Take(0, Message({"b"}));
  EXPECT_EQ(delta["delta"], (json{{"content", "b"}}));
  delta = answer->Take(0, End({}, v1::FINISH_REASON_STOP_TOKEN));
  EXPECT_EQ(delta["delta"], json::object());
  EXPECT_EQ(delta["finish_reason"], "stop");
  const json chunk = json::parse(answer->Chunk(json::array({delta}), /*with_usage=*/false));
  EXPECT_EQ(chunk["object"], "chat.completion.chunk");
  EXPECT_FALSE(chunk.contains("usage"));
  const json usage = json::parse(answer->UsageChunk());
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 1);
}

}  // namespace
}  // namespace recurve::gateway
