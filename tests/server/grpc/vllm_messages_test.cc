// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/vllm_messages.h"

#include <functional>
#include <utility>

#include "engine/api/validate_request.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::HasSubstr;
using testing::IsEmpty;

const SteadyTime kArrival = SteadyTime() + std::chrono::hours(1);

vllm_proto::GenerateRequest Valid() {
  vllm_proto::GenerateRequest proto;
  for (const uint32_t id : {5, 6, 7}) proto.mutable_tokenized()->add_input_ids(id);
  return proto;
}

// What the engine says of it too.
absl::Status Judge(const vllm_proto::GenerateRequest& proto) {
  const absl::StatusOr<Request> request = RequestFromVllm(proto, kArrival);
  if (!request.ok()) return request.status();
  return WithVllmPaths(ValidateRequest(*request));
}

TEST(VllmMessagesTest, FieldsThatAreNotSetHaveVllmsDefaults) {
  const absl::StatusOr<Request> request = RequestFromVllm(Valid(), kArrival);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<std::vector<uint32_t>>(request->prompt), (std::vector<uint32_t>{5, 6, 7}));
  EXPECT_EQ(request->sampling.temperature, 1.0F);
  EXPECT_EQ(request->sampling.top_p, 1.0F);
  EXPECT_EQ(request->sampling.top_k, 0);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.0F);
  EXPECT_EQ(request->samples, 1);
  EXPECT_FALSE(request->max_tokens.has_value());
  EXPECT_FALSE(request->logprobs);
  EXPECT_FALSE(request->prompt_logprobs);
  EXPECT_FALSE(request->skip_special_tokens);  // so stop strings may be of them
  EXPECT_EQ(request->arrival, kArrival);
}

TEST(VllmMessagesTest, EveryFieldReachesTheRequest) {
  vllm_proto::GenerateRequest proto = Valid();
  vllm_proto::SamplingParams* params = proto.mutable_sampling_params();
  params->set_temperature(0);
  params->set_top_p(0.5F);
  params->set_top_k(3);
  params->set_min_p(0.25F);
  params->set_frequency_penalty(1.5F);
  params->set_presence_penalty(-1.5F);
  params->set_repetition_penalty(1.25F);
  params->set_max_tokens(9);
  params->set_min_tokens(2);
  params->add_stop("END");
  params->add_stop_token_ids(4);
  params->set_ignore_eos(true);
  params->set_n(3);
  params->set_logprobs(2);
  params->set_prompt_logprobs(4);
  params->set_seed(-1);
  params->set_include_stop_str_in_output(true);
  params->set_skip_special_tokens(true);
  (*params->mutable_logit_bias())[8] = -2.0F;
  params->set_truncate_prompt_tokens(2);
  const absl::StatusOr<Request> request = RequestFromVllm(proto, kArrival);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<std::vector<uint32_t>>(request->prompt), (std::vector<uint32_t>{6, 7}));
  EXPECT_EQ(request->sampling.temperature, 0.0F);
  EXPECT_EQ(request->sampling.top_p, 0.5F);
  EXPECT_EQ(request->sampling.top_k, 3);
  EXPECT_EQ(request->sampling.min_p, 0.25F);
  EXPECT_EQ(request->sampling.frequency_penalty, 1.5F);
  EXPECT_EQ(request->sampling.presence_penalty, -1.5F);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.25F);
  EXPECT_EQ(request->sampling.seed(), UINT64_MAX);
  EXPECT_EQ(request->max_tokens, 9);
  EXPECT_EQ(request->min_tokens, 2);
  EXPECT_THAT(request->stop_strings, ElementsAre("END"));
  EXPECT_THAT(request->stop_token_ids, ElementsAre(4));
  EXPECT_TRUE(request->ignore_eos);
  EXPECT_TRUE(request->include_stop_string);
  EXPECT_TRUE(request->skip_special_tokens);
  EXPECT_EQ(request->samples, 3);
  EXPECT_TRUE(request->logprobs);
  EXPECT_TRUE(request->prompt_logprobs);
  EXPECT_EQ(request->top_logprobs, 4);
  EXPECT_EQ(request->logit_bias.at(8), -2.0F);
}

// A prompt that fits once it is truncated is not too long.
TEST(VllmMessagesTest, ThePromptsSizeIsThatOfWhatIsNotCut) {
  vllm_proto::GenerateRequest proto = Valid();
  EXPECT_EQ(SizeOf(proto).ids, 3U);
  proto.mutable_sampling_params()->set_truncate_prompt_tokens(2);
  EXPECT_EQ(SizeOf(proto).ids, 2U);
  proto.mutable_sampling_params()->set_truncate_prompt_tokens(5);
  EXPECT_EQ(SizeOf(proto).ids, 3U);
  proto.mutable_sampling_params()->set_truncate_prompt_tokens(-1);  // which is refused elsewhere
  EXPECT_EQ(SizeOf(proto).ids, 0U);
  proto.set_text("four");
  EXPECT_EQ(SizeOf(proto).text_bytes, 4U);
}

TEST(VllmMessagesTest, WhatCannotBeHadIsRefusedByName) {
  using P = vllm_proto::GenerateRequest*;
  const std::pair<const char*, std::function<void(P)>> cases[] = {
      {"input is not set", [](P p) { p->clear_input(); }},
      {"kv_transfer_params is set", [](P p) { p->mutable_kv_transfer_params(); }},
      {"kv_transfer_params_json is set", [](P p) { p->set_kv_transfer_params_json("{}"); }},
      {"mm_inputs is set", [](P p) { p->mutable_mm_inputs(); }},
      {"data_parallel_rank is 1; it must be 0", [](P p) { p->set_data_parallel_rank(1); }},
      {"sampling_params.regex is set", [](P p) { p->mutable_sampling_params()->set_regex("a*"); }},
      {"sampling_params.json_object is set",
       [](P p) { p->mutable_sampling_params()->set_json_object(true); }},
      {"sampling_params.logprobs is -1; it must be from 0 to 20",
       [](P p) { p->mutable_sampling_params()->set_logprobs(-1); }},
      {"sampling_params.logprobs or prompt_logprobs is 21",
       [](P p) { p->mutable_sampling_params()->set_logprobs(21); }},
      {"sampling_params.prompt_logprobs is set; it needs a tokenized input",
       [](P p) {
         p->set_text("a");
         p->mutable_sampling_params()->set_prompt_logprobs(0);
       }},
      {"sampling_params.truncate_prompt_tokens, of a prompt that is text,",
       [](P p) {
         p->set_text("a");
         p->mutable_sampling_params()->set_truncate_prompt_tokens(1);
       }},
      {"sampling_params.truncate_prompt_tokens is -1; it must be at least 1",
       [](P p) { p->mutable_sampling_params()->set_truncate_prompt_tokens(-1); }},
      {"sampling_params.logit_bias has the token id -3",
       [](P p) { (*p->mutable_sampling_params()->mutable_logit_bias())[-3] = 1; }},
      {"sampling_params.n is 17", [](P p) { p->mutable_sampling_params()->set_n(17); }},
      {"sampling_params.top_p is 2", [](P p) { p->mutable_sampling_params()->set_top_p(2); }},
      {"sampling_params.stop has 17",
       [](P p) {
         for (int i = 0; i < 17; ++i) p->mutable_sampling_params()->add_stop("x");
       }},
      {"the request has the field number 90",
       [](P p) { p->GetReflection()->MutableUnknownFields(p)->AddVarint(90, 1); }},
      {"sampling_params has the field number 91",
       [](P p) {
         auto* params = p->mutable_sampling_params();
         params->GetReflection()->MutableUnknownFields(params)->AddVarint(91, 1);
       }},
  };
  for (const auto& [message, spoil] : cases) {
    vllm_proto::GenerateRequest proto = Valid();
    spoil(&proto);
    const absl::Status status = Judge(proto);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

DeltaToken Token(uint32_t id, float logprob) {
  DeltaToken token;
  token.id = id;
  token.logprobs = PositionLogprobs{logprob, {{id, logprob}, {id + 1, logprob - 1}}};
  return token;
}

Delta Tokens(uint32_t sample, std::vector<DeltaToken> tokens, uint32_t generated) {
  Delta delta;
  delta.sample = sample;
  delta.tokens = std::move(tokens);
  delta.prompt_tokens = 3;
  delta.generated_tokens = generated;
  return delta;
}

Delta End(Delta delta, EndReason reason) {
  delta.finish.emplace();
  delta.finish->reason = reason;
  delta.finish->cached_tokens = 2;
  return delta;
}

TEST(VllmMessagesTest, AStreamHasChunksAndRepeatsAllAtItsEnd) {
  vllm_proto::GenerateRequest proto = Valid();
  proto.set_stream(true);
  proto.mutable_sampling_params()->set_logprobs(1);
  VllmAnswer answer(proto);
  const auto first = answer.Take(Tokens(0, {Token(10, -0.5F)}, 1));
  ASSERT_EQ(first.size(), 1);
  EXPECT_THAT(first[0].chunk().token_ids(), ElementsAre(10));
  EXPECT_EQ(first[0].chunk().completion_tokens(), 1);
  EXPECT_EQ(first[0].chunk().prompt_tokens(), 3);
  EXPECT_THAT(first[0].chunk().output_logprobs().token_logprobs(), ElementsAre(FloatEq(-0.5F)));
  EXPECT_THAT(first[0].chunk().output_logprobs().top_logprobs(0).token_ids(), ElementsAre(10));
  EXPECT_FALSE(first[0].chunk().has_input_logprobs());

  const auto last = answer.Take(End(Tokens(0, {Token(20, -1)}, 2), EndReason::kLength));
  ASSERT_EQ(last.size(), 2);
  EXPECT_THAT(last[0].chunk().token_ids(), ElementsAre(20));
  const vllm_proto::GenerateComplete& complete = last[1].complete();
  EXPECT_THAT(complete.output_ids(), ElementsAre(10, 20));
  EXPECT_EQ(complete.finish_reason(), "length");
  EXPECT_EQ(complete.completion_tokens(), 2);
  EXPECT_EQ(complete.cached_tokens(), 2);
  EXPECT_THAT(complete.output_logprobs().token_ids(), ElementsAre(10, 20));
}

TEST(VllmMessagesTest, WithoutStreamEachSampleHasItsEndAlone) {
  VllmAnswer answer(Valid());
  EXPECT_THAT(answer.Take(Tokens(1, {Token(10, 0)}, 1)), IsEmpty());
  EXPECT_THAT(answer.Take(Tokens(0, {Token(11, 0)}, 1)), IsEmpty());
  const auto second = answer.Take(End(Tokens(1, {}, 1), EndReason::kEndOfSequence));
  ASSERT_EQ(second.size(), 1);
  EXPECT_EQ(second[0].complete().index(), 1);
  EXPECT_THAT(second[0].complete().output_ids(), ElementsAre(10));
  EXPECT_EQ(second[0].complete().finish_reason(), "stop");
  EXPECT_FALSE(second[0].complete().has_output_logprobs());
  const auto first = answer.Take(End(Tokens(0, {Token(12, 0)}, 2), EndReason::kDrained));
  ASSERT_EQ(first.size(), 1);
  EXPECT_THAT(first[0].complete().output_ids(), ElementsAre(11, 12));
  EXPECT_EQ(first[0].complete().finish_reason(), "abort");
}

TEST(VllmMessagesTest, ThePromptsLogProbabilitiesComeOnceAndOfWhatWasNotCut) {
  vllm_proto::GenerateRequest proto = Valid();
  proto.set_stream(true);
  proto.mutable_sampling_params()->set_prompt_logprobs(1);
  proto.mutable_sampling_params()->set_truncate_prompt_tokens(2);
  VllmAnswer answer(proto);
  Delta delta = Tokens(0, {Token(10, -0.5F)}, 1);
  delta.prompt_logprobs = {{-3.0F, {{9, -0.1F}, {8, -0.2F}}}};
  const auto first = answer.Take(delta);
  ASSERT_EQ(first.size(), 1);
  const vllm_proto::InputLogProbs& prompt = first[0].chunk().input_logprobs();
  EXPECT_THAT(prompt.token_ids(), ElementsAre(6, 7));
  EXPECT_FALSE(prompt.token_logprobs(0).has_value());
  EXPECT_EQ(prompt.token_logprobs(1).value(), -3.0F);
  EXPECT_THAT(prompt.top_logprobs(1).token_ids(), ElementsAre(9));
  EXPECT_FALSE(first[0].chunk().has_output_logprobs());
  const auto last = answer.Take(End(Tokens(0, {}, 1), EndReason::kStopString));
  ASSERT_EQ(last.size(), 1);
  EXPECT_FALSE(last[0].complete().has_input_logprobs());
}

}  // namespace
}  // namespace recurve
