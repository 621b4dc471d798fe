// SPDX-License-Identifier: Apache-2.0
#include "client/load/openai_messages.h"

#include "client/client.h"
#include "client/load/sampling_json.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(OpenAiMessagesTest, ABodyHasWhatWasAskedFor) {
  v1::GenerateRequest request;
  request.set_text("say");
  EXPECT_EQ(
      json::parse(CompletionBody(request, "tiny", json::object())),
      json({{"model", "tiny"},
            {"prompt", "say"},
            {"temperature", 0.0},
            {"stream", true},
            {"stream_options", {{"include_usage", true}, {"continuous_usage_stats", true}}}}));
  request.mutable_tokens()->add_ids(3);
  request.mutable_tokens()->add_ids(4);
  request.mutable_sampling()->set_temperature(0.5);
  request.mutable_sampling()->set_top_k(9);
  request.mutable_sampling()->set_seed(1);
  request.mutable_stop()->set_max_tokens(7);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_stop()->add_stop_strings("end");
  const json extra = {{"user", "me"}, {"stream_options", {{"continuous_usage_stats", nullptr}}}};
  EXPECT_EQ(json::parse(CompletionBody(request, "tiny", extra)),
            json({{"model", "tiny"},
                  {"prompt", {3, 4}},
                  {"temperature", 0.5},
                  {"top_k", 9},
                  {"seed", 1},
                  {"max_tokens", 7},
                  {"ignore_eos", true},
                  {"stop", {"end"}},
                  {"user", "me"},
                  {"stream", true},
                  {"stream_options", {{"include_usage", true}}}}));
}

TEST(OpenAiMessagesTest, WhatHasNoNameThereIsRefused) {
  v1::GenerateRequest request;
  request.mutable_stop()->set_max_tokens(7);
  EXPECT_TRUE(CheckForSamplingJson(request).ok());
  request.set_time_limit_ms(5);
  EXPECT_THAT(std::string(CheckForSamplingJson(request).message()), HasSubstr("--time_limit_ms"));
  request.clear_time_limit_ms();
  request.mutable_recursion()->set_max_recursions(2);
  EXPECT_THAT(std::string(CheckForSamplingJson(request).message()), HasSubstr("--max_recursions"));
}

TEST(OpenAiMessagesTest, ChunksTellWhatTheyHave) {
  const auto text = ParseChunk(R"({"choices": [{"text": "a"}], "usage": null})");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_TRUE(text->has_choice);
  EXPECT_TRUE(text->has_text);
  EXPECT_FALSE(text->generated_tokens);
  const auto empty = ParseChunk(R"({"choices": [{"text": "", "finish_reason": "length"}]})");
  EXPECT_TRUE(empty->has_choice);
  EXPECT_FALSE(empty->has_text);
  const auto usage = ParseChunk(R"({"choices": [], "usage": {"prompt_tokens": 5,
      "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 4}}})");
  EXPECT_FALSE(usage->has_choice);
  EXPECT_EQ(usage->prompt_tokens, 5U);
  EXPECT_EQ(usage->generated_tokens, 6U);
  EXPECT_EQ(usage->cached_tokens, 4U);
  EXPECT_TRUE(ParseChunk("[DONE]")->is_last);
  EXPECT_FALSE(usage->is_last);
}

TEST(OpenAiMessagesTest, WhatIsNoChunkIsAnError) {
  EXPECT_TRUE(absl::IsInvalidArgument(ParseChunk("{").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseChunk("[1]").status()));
  const auto error = ParseChunk(R"({"error": {"message": "engine died"}})").status();
  EXPECT_TRUE(absl::IsInternal(error));
  EXPECT_EQ(error.message(), "engine died");
  // Of other kinds than expected.
  for (const char* odd :
       {R"({"choices": {}})", R"({"choices": [3]})", R"({"choices": [{"text": 5}]})",
        R"({"usage": {"completion_tokens": -1}})", R"({"usage": "x"})"}) {
    const auto chunk = ParseChunk(odd);
    ASSERT_TRUE(chunk.ok()) << odd;
    EXPECT_FALSE(chunk->has_text || chunk->generated_tokens) << odd;
  }
}

TEST(OpenAiMessagesTest, TheFirstModelIsTaken) {
  EXPECT_EQ(FirstModel(R"({"data": [{"id": "a"}, {"id": "b"}]})").value(), "a");
  for (const char* none : {R"({"data": []})", "[]", "{", R"({"data": [{"id": 3}]})"}) {
    EXPECT_FALSE(FirstModel(none).ok()) << none;
  }
}

TEST(OpenAiMessagesTest, AnswersBecomeStatuses) {
  const absl::Status full = StatusOfAnswer(429, "2", R"({"error": {"message": "queue is full"}})");
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_EQ(full.message(), "HTTP 429: queue is full");
  EXPECT_EQ(full.GetPayload(kRetryPushbackPayload), absl::Cord("2000"));
  EXPECT_FALSE(StatusOfAnswer(429, "", "").GetPayload(kRetryPushbackPayload));
  EXPECT_FALSE(
      StatusOfAnswer(429, "Wed, 21 Oct 2026 07:28:00 GMT", "").GetPayload(kRetryPushbackPayload));
  const absl::Status detail = StatusOfAnswer(422, "", R"({"detail": [{"loc": ["body"]}]})");
  EXPECT_TRUE(absl::IsInvalidArgument(detail));
  EXPECT_THAT(std::string(detail.message()), HasSubstr("loc"));
  EXPECT_EQ(StatusOfAnswer(503, "", "<html>").message(), "HTTP 503: <html>");
  for (const auto& [code, status] : {std::pair(404, absl::StatusCode::kNotFound),
                                     {401, absl::StatusCode::kUnauthenticated},
                                     {500, absl::StatusCode::kInternal},
                                     {302, absl::StatusCode::kUnknown},
                                     {503, absl::StatusCode::kUnavailable}}) {
    EXPECT_EQ(StatusOfAnswer(code, "", "").code(), status) << code;
  }
}

}  // namespace
}  // namespace recurve::client
