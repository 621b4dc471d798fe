// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/request_from_proto.h"

#include <cmath>
#include <functional>

#include "engine/api/refusal.h"
#include "engine/api/validate_request.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "recurve/v1/generation.pb.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const SteadyTime kArrival = SteadyTime() + std::chrono::hours(1);

v1::GenerateRequest Valid() {
  v1::GenerateRequest proto;
  proto.set_text("hello");
  return proto;
}

struct BadCase {
  std::string message;  // part of what the error says: field, value, limit
  std::function<void(v1::GenerateRequest*)> spoil;
};

const std::vector<BadCase>& BadCases() {
  using P = v1::GenerateRequest*;
  static const auto* cases = new std::vector<BadCase>{
      {"prompt is not set", [](P p) { p->clear_prompt(); }},
      {"generated_prefix is 1; it must be 0 with a text prompt",
       [](P p) { p->set_generated_prefix(1); }},
      {"generated_prefix is 3; it must be at most the number of prompt tokens, 2",
       [](P p) {
         p->mutable_tokens()->add_ids(1);
         p->mutable_tokens()->add_ids(2);
         p->set_generated_prefix(3);
       }},
      {"priority is 7; it must be one of the names of recurve.v1.Priority",
       [](P p) { p->set_priority(static_cast<v1::Priority>(7)); }},
      {"samples is 0; it must be from 1 to 16", [](P p) { p->set_samples(0); }},
      {"samples is 17; it must be from 1 to 16", [](P p) { p->set_samples(17); }},
      {"stop.max_tokens is 0; it must be at least 1 with several samples",
       [](P p) {
         p->set_samples(2);
         p->mutable_stop()->set_max_tokens(0);
         p->mutable_output()->set_prompt_logprobs(true);
       }},
      {"queue_timeout_ms is 0; it must be at least 1", [](P p) { p->set_queue_timeout_ms(0); }},
      {"sampling.repetition_penalty is 0;",
       [](P p) { p->mutable_sampling()->set_repetition_penalty(0); }},
      {"sampling.repetition_penalty is 101; it must be greater than 0 and at most 100",
       [](P p) { p->mutable_sampling()->set_repetition_penalty(101); }},
      {"sampling.repetition_penalty is nan",
       [](P p) { p->mutable_sampling()->set_repetition_penalty(NAN); }},
      {"sampling.presence_penalty is -101; it must be from -100 to 100",
       [](P p) { p->mutable_sampling()->set_presence_penalty(-101); }},
      {"sampling.presence_penalty is inf",
       [](P p) { p->mutable_sampling()->set_presence_penalty(INFINITY); }},
      {"sampling.frequency_penalty is 100.5; it must be from -100 to 100",
       [](P p) { p->mutable_sampling()->set_frequency_penalty(100.5F); }},
      {"sampling.logit_bias has 1025 entries; at most 1024",
       [](P p) {
         for (uint32_t i = 0; i < 1025; ++i) (*p->mutable_sampling()->mutable_logit_bias())[i] = 1;
       }},
      {"sampling.logit_bias[5] is 1001; it must be from -1000 to 1000",
       [](P p) { (*p->mutable_sampling()->mutable_logit_bias())[5] = 1001; }},
      {"sampling.temperature is -0.5; it must be from 0 to 100",
       [](P p) { p->mutable_sampling()->set_temperature(-0.5F); }},
      {"sampling.temperature is 100.00001; it must be from 0 to 100",
       [](P p) { p->mutable_sampling()->set_temperature(100.00001F); }},
      {"sampling.temperature is nan", [](P p) { p->mutable_sampling()->set_temperature(NAN); }},
      {"sampling.top_p is 0; it must be greater than 0 and at most 1",
       [](P p) { p->mutable_sampling()->set_top_p(0); }},
      {"sampling.top_p is 1.5;", [](P p) { p->mutable_sampling()->set_top_p(1.5F); }},
      {"sampling.min_p is 1; it must be at least 0 and less than 1",
       [](P p) { p->mutable_sampling()->set_min_p(1); }},
      {"stop.max_tokens is 0; it must be at least 1 without prompt_logprobs",
       [](P p) { p->mutable_stop()->set_max_tokens(0); }},
      {"stop.min_tokens is 6; it must be at most max_tokens + generated_prefix, 5",
       [](P p) {
         p->mutable_stop()->set_max_tokens(5);
         p->mutable_stop()->set_min_tokens(6);
       }},
      {"stop.min_tokens is 8; it must be at most max_tokens + generated_prefix, 7",
       [](P p) {
         for (uint32_t id = 0; id < 3; ++id) p->mutable_tokens()->add_ids(id);
         p->set_generated_prefix(2);
         p->mutable_stop()->set_max_tokens(5);
         p->mutable_stop()->set_min_tokens(8);
       }},
      {"stop.stop_strings has 17 entries; at most 16",
       [](P p) {
         for (int i = 0; i < 17; ++i) p->mutable_stop()->add_stop_strings("x");
       }},
      {"stop.stop_strings[1] has 0 bytes; it must have from 1 to 256",
       [](P p) {
         p->mutable_stop()->add_stop_strings("x");
         p->mutable_stop()->add_stop_strings("");
       }},
      {"stop.stop_strings[0] has 257 bytes",
       [](P p) { p->mutable_stop()->add_stop_strings(std::string(257, 'x')); }},
      {"stop.stop_token_ids has 33 entries; at most 32",
       [](P p) {
         for (int i = 0; i < 33; ++i) p->mutable_stop()->add_stop_token_ids(1);
       }},
      {"output.top_logprobs is 21; it must be at most 20",
       [](P p) { p->mutable_output()->set_top_logprobs(21); }},
      {"recursion.router_threshold is 1.1; it must be from 0 to 1",
       [](P p) { p->mutable_recursion()->set_router_threshold(1.1F); }},
      {"recursion.router_threshold is nan",
       [](P p) { p->mutable_recursion()->set_router_threshold(NAN); }},
      {"time_limit_ms is 0; it must be at least 1", [](P p) { p->set_time_limit_ms(0); }},
  };
  return *cases;
}

// What the client hears: of the translation, or of the engine by the message's paths.
absl::Status RefusalOf(const v1::GenerateRequest& proto) {
  const auto request = RequestFromProto(proto, kArrival);
  return request.ok() ? WithProtoPaths(ValidateRequest(*request)) : request.status();
}

class BadRequestTest : public testing::TestWithParam<size_t> {};

TEST_P(BadRequestTest, IsRefusedWithFieldValueAndLimit) {
  const BadCase& bad = BadCases()[GetParam()];
  v1::GenerateRequest proto = Valid();
  bad.spoil(&proto);
  const absl::Status status = RefusalOf(proto);
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.message;
  EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
}

TEST(CheckPromptSizeTest, RefusesWhatNoContextCouldHold) {
  EngineInfo info;
  info.max_context = 4;
  const PromptSize text = {.text_bytes = 41};
  EXPECT_TRUE(CheckPromptSize(text, info).ok()) << "tokens of any length";
  info.max_prompt_bytes = 41;
  EXPECT_TRUE(CheckPromptSize(text, info).ok());
  info.max_prompt_bytes = 40;
  EXPECT_EQ(CheckPromptSize(text, info),
            absl::InvalidArgumentError("text has 41 bytes; the context of 4 tokens holds at most "
                                       "40 of this tokenizer"));
  EXPECT_TRUE(CheckPromptSize({.ids = 4}, info).ok());
  EXPECT_EQ(
      CheckPromptSize({.ids = 5}, info),
      absl::InvalidArgumentError("tokens has 5 ids; at most the context of 4 tokens is allowed"));
  EXPECT_TRUE(CheckPromptSize({.ids = 9, .generated_ids = 5}, info).ok());
  EXPECT_TRUE(CheckPromptSize({.ids = 9, .generated_ids = 10}, info).ok());
  EXPECT_EQ(CheckPromptSize({.ids = 9, .generated_ids = 4}, info),
            absl::InvalidArgumentError("tokens has 5 ids before generated_prefix; at most the "
                                       "context of 4 tokens is allowed"));
}

INSTANTIATE_TEST_SUITE_P(All, BadRequestTest, testing::Range(size_t{0}, BadCases().size()));

TEST(RequestFromProtoTest, UnsetFieldsHaveTheirDefaults) {
  const auto request = RequestFromProto(Valid(), kArrival);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<std::string>(request->prompt), "hello");
  EXPECT_TRUE(request->add_special_tokens);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.0F);
  EXPECT_EQ(request->sampling.temperature, 0.0F);
  EXPECT_EQ(request->sampling.top_p, 1.0F);
  EXPECT_EQ(request->sampling.top_k, 0U);
  EXPECT_EQ(request->samples, 1U);
  EXPECT_FALSE(request->max_tokens.has_value());
  EXPECT_TRUE(request->skip_special_tokens);
  EXPECT_FALSE(request->logprobs);
  EXPECT_FALSE(request->max_recursions.has_value());
  EXPECT_FALSE(request->adaptive_min.has_value());
  EXPECT_FALSE(request->router_threshold.has_value());
  EXPECT_FALSE(request->time_limit.has_value());
  EXPECT_EQ(request->arrival, kArrival);
  const auto other = RequestFromProto(Valid(), kArrival);
  EXPECT_NE(request->sampling.seed(), other->sampling.seed()) << "a seed is drawn for each request";
}

TEST(RequestFromProtoTest, EveryFieldIsRead) {
  v1::GenerateRequest proto;
  for (const uint32_t id : {4, 5, 6}) proto.mutable_tokens()->add_ids(id);
  proto.set_add_special_tokens(false);
  proto.set_generated_prefix(2);
  v1::SamplingParams* sampling = proto.mutable_sampling();
  sampling->set_repetition_penalty(1.5F);
  sampling->set_presence_penalty(-100.0F);
  sampling->set_frequency_penalty(0.25F);
  (*sampling->mutable_logit_bias())[8] = -1000.0F;
  sampling->set_temperature(100.0F);
  sampling->set_top_k(40);
  sampling->set_top_p(0.9F);
  sampling->set_min_p(0.1F);
  sampling->set_seed(0xFFFFFFFFFFFFFFFFU);
  v1::StopParams* stop = proto.mutable_stop();
  stop->set_max_tokens(7);
  stop->set_min_tokens(7);
  stop->add_stop_strings("END");
  stop->add_stop_token_ids(3);
  stop->set_include_stop_string(true);
  stop->set_ignore_eos(true);
  v1::OutputParams* output = proto.mutable_output();
  output->set_logprobs(true);
  output->set_top_logprobs(20);
  output->set_prompt_logprobs(true);
  output->set_skip_special_tokens(false);
  output->set_prompt_depths(true);
  proto.mutable_recursion()->set_max_recursions(2);
  proto.mutable_recursion()->set_router_threshold(0.0F);
  proto.mutable_recursion()->set_adaptive_min(1);
  proto.set_samples(16);
  proto.set_time_limit_ms(250);
  proto.set_queue_timeout_ms(40);
  proto.set_priority(v1::PRIORITY_LOW);
  proto.mutable_kv()->set_eviction("window");
  proto.mutable_kv()->set_budget("1:9");
  proto.mutable_kv()->set_sinks(0);
  proto.mutable_kv()->set_recent(3);
  proto.mutable_prefix()->set_cache_prompt(false);
  proto.mutable_prefix()->set_cache_generated(true);

  const auto request = RequestFromProto(proto, kArrival);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(std::get<std::vector<uint32_t>>(request->prompt), ElementsAre(4, 5, 6));
  EXPECT_FALSE(request->add_special_tokens);
  EXPECT_EQ(request->generated_prefix, 2U);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.5F);
  EXPECT_EQ(request->sampling.presence_penalty, -100.0F);
  EXPECT_EQ(request->sampling.frequency_penalty, 0.25F);
  EXPECT_EQ(request->logit_bias, (std::map<uint32_t, float>{{8, -1000.0F}}));
  EXPECT_EQ(request->sampling.temperature, 100.0F);
  EXPECT_EQ(request->sampling.top_k, 40U);
  EXPECT_EQ(request->sampling.top_p, 0.9F);
  EXPECT_EQ(request->sampling.min_p, 0.1F);
  EXPECT_EQ(request->sampling.seed(), 0xFFFFFFFFFFFFFFFFU);
  EXPECT_EQ(request->samples, 16U);
  EXPECT_EQ(request->max_tokens, 7U);
  EXPECT_EQ(request->min_tokens, 7U);
  EXPECT_THAT(request->stop_strings, ElementsAre("END"));
  EXPECT_THAT(request->stop_token_ids, ElementsAre(3));
  EXPECT_TRUE(request->include_stop_string);
  EXPECT_TRUE(request->ignore_eos);
  EXPECT_TRUE(request->logprobs);
  EXPECT_EQ(request->top_logprobs, 20U);
  EXPECT_TRUE(request->prompt_logprobs);
  EXPECT_FALSE(request->skip_special_tokens);
  EXPECT_TRUE(request->prompt_depths);
  EXPECT_EQ(request->queue_deadline, kArrival + std::chrono::milliseconds(40));
  EXPECT_EQ(request->priority, Priority::kLow);
  EXPECT_EQ(request->kv_eviction, "window");
  EXPECT_EQ(request->kv_budget, "1:9");
  EXPECT_EQ(request->kv_sinks, 0U);
  EXPECT_EQ(request->kv_recent, 3U);
  EXPECT_FALSE(request->cache_prompt);
  EXPECT_TRUE(request->cache_generated);
  EXPECT_EQ(request->max_recursions, 2U);
  EXPECT_EQ(request->router_threshold, 0.0F);
  EXPECT_EQ(request->adaptive_min, 1U);
  EXPECT_EQ(request->time_limit, kArrival + std::chrono::milliseconds(250));
}

TEST(RequestFromProtoTest, NoNewTokensAreFineWithPromptLogprobs) {
  v1::GenerateRequest proto = Valid();
  proto.mutable_stop()->set_max_tokens(0);
  proto.mutable_output()->set_prompt_logprobs(true);
  const auto request = RequestFromProto(proto, kArrival);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->max_tokens, 0U);
  EXPECT_TRUE(ValidateRequest(*request).ok());
}

TEST(WithProtoPathsTest, LeavesAloneWhatIsNoRefusalOrAtTheTop) {
  EXPECT_EQ(WithProtoPaths(absl::OkStatus()), absl::OkStatus());
  const absl::Status other = absl::InvalidArgumentError("top_p is odd");
  EXPECT_EQ(WithProtoPaths(other), other);
  const absl::Status top = ToStatus({"samples", "is 0", "it must be from 1 to 16"});
  EXPECT_EQ(WithProtoPaths(top), top);
}

}  // namespace
}  // namespace recurve
