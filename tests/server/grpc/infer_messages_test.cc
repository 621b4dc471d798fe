// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/api/validate_request.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/grpc/infer_request.h"
#include "server/grpc/infer_response.h"
#include "tests/server/fake_engine.h"

namespace recurve {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kModel[] = "tiny";
const SteadyTime kArrival = SteadyTime() + std::chrono::hours(1);

ModelInferRequest::InferInputTensor* AddInput(const std::string& name, const std::string& datatype,
                                              ModelInferRequest* proto) {
  ModelInferRequest::InferInputTensor* tensor = proto->add_inputs();
  tensor->set_name(name);
  tensor->set_datatype(datatype);
  tensor->add_shape(1);
  return tensor;
}
void AddText(const std::string& name, const std::string& value, ModelInferRequest* proto) {
  AddInput(name, "BYTES", proto)->mutable_contents()->add_bytes_contents(value);
}
void AddFlag(const std::string& name, bool value, ModelInferRequest* proto) {
  AddInput(name, "BOOL", proto)->mutable_contents()->add_bool_contents(value);
}

ModelInferRequest Valid() {
  ModelInferRequest proto;
  proto.set_model_name(kModel);
  proto.set_id("7");
  AddText("text_input", "hello", &proto);
  return proto;
}

TEST(InferRequestTest, WhatIsLeftOutHasVllmsDefaults) {
  const absl::StatusOr<InferTerms> terms = TermsFromInfer(Valid(), kModel, kArrival);
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_EQ(std::get<std::string>(terms->request.prompt), "hello");
  EXPECT_EQ(terms->request.max_tokens, 16);
  EXPECT_EQ(terms->request.sampling.temperature, 1.0F);
  EXPECT_FALSE(terms->stream);
  EXPECT_EQ(terms->prepended, "hello");
}

TEST(InferRequestTest, EveryParameterReachesTheRequest) {
  ModelInferRequest proto = Valid();
  AddFlag("stream", true, &proto);
  AddText("sampling_parameters",
          R"({"temperature": "0.5", "top_p": 0.25, "top_k": -1, "min_p": 0.125,
      "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.5, "seed": -2,
      "max_tokens": "9", "min_tokens": 2, "n": 3, "stop": "END", "stop_token_ids": [4],
      "logit_bias": {"8": -2}, "logprobs": 2, "ignore_eos": true, "skip_special_tokens": false,
      "include_stop_str_in_output": true, "best_of": null})",
          &proto);
  const absl::StatusOr<InferTerms> terms = TermsFromInfer(proto, kModel, kArrival);
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_TRUE(terms->stream);
  EXPECT_EQ(terms->prepended, "");
  const Request& request = terms->request;
  EXPECT_EQ(request.sampling.temperature, 0.5F);
  EXPECT_EQ(request.sampling.top_p, 0.25F);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.min_p, 0.125F);
  EXPECT_EQ(request.sampling.presence_penalty, 1.0F);
  EXPECT_EQ(request.sampling.frequency_penalty, -1.0F);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5F);
  EXPECT_EQ(request.sampling.seed(), UINT64_MAX - 1);
  EXPECT_EQ(request.max_tokens, 9);
  EXPECT_EQ(request.min_tokens, 2);
  EXPECT_EQ(request.samples, 3);
  EXPECT_THAT(request.stop_strings, ElementsAre("END"));
  EXPECT_THAT(request.stop_token_ids, ElementsAre(4));
  EXPECT_EQ(request.logit_bias.at(8), -2.0F);
  EXPECT_TRUE(request.logprobs);
  EXPECT_EQ(request.top_logprobs, 2);
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_FALSE(request.skip_special_tokens);
  EXPECT_TRUE(request.include_stop_string);
}

TEST(InferRequestTest, TheRequestsOwnParametersStandInForTheTensor) {
  ModelInferRequest proto = Valid();
  (*proto.mutable_parameters())["temperature"].set_string_param("0.5");
  (*proto.mutable_parameters())["max_tokens"].set_int64_param(4);
  (*proto.mutable_parameters())["ignore_eos"].set_bool_param(true);
  (*proto.mutable_parameters())["top_p"].set_double_param(0.75);
  (*proto.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
  absl::StatusOr<InferTerms> terms = TermsFromInfer(proto, kModel, kArrival);
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_EQ(terms->request.sampling.temperature, 0.5F);
  EXPECT_EQ(terms->request.sampling.top_p, 0.75F);
  EXPECT_EQ(terms->request.max_tokens, 4);
  EXPECT_TRUE(terms->request.ignore_eos);
  AddText("sampling_parameters", "{}", &proto);
  terms = TermsFromInfer(proto, kModel, kArrival);
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_EQ(terms->request.max_tokens, 16);
}

TEST(InferRequestTest, RawContentsAreRead) {
  ModelInferRequest proto;
  proto.set_model_name(kModel);
  AddInput("text_input", "BYTES", &proto);
  AddInput("stream", "BOOL", &proto)->add_shape(1);  // [1, 1]
  proto.add_raw_input_contents(std::string("\5\0\0\0hello", 9));
  proto.add_raw_input_contents(std::string("\1", 1));
  const absl::StatusOr<InferTerms> terms = TermsFromInfer(proto, kModel, kArrival);
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_EQ(std::get<std::string>(terms->request.prompt), "hello");
  EXPECT_TRUE(terms->stream);
}

TEST(InferRequestTest, WhatIsWrongIsNamed) {
  using P = ModelInferRequest*;
  const auto parameters = [](const char* text) {
    return [text](P p) { AddText("sampling_parameters", text, p); };
  };
  const std::pair<const char*, std::function<void(P)>> cases[] = {
      {"input text_input is missing", [](P p) { p->clear_inputs(); }},
      {"input text_input is given twice", [](P p) { AddText("text_input", "b", p); }},
      {"input image is not one of this model's", [](P p) { AddText("image", "b", p); }},
      {"input text_input has the datatype FP32; it must be BYTES",
       [](P p) { p->mutable_inputs(0)->set_datatype("FP32"); }},
      {"input text_input must have one element",
       [](P p) { p->mutable_inputs(0)->set_shape(0, 2); }},
      {"input text_input has 2 elements in bytes_contents",
       [](P p) { p->mutable_inputs(0)->mutable_contents()->add_bytes_contents("b"); }},
      {"raw_input_contents has 2 entries",
       [](P p) {
         p->add_raw_input_contents("a");
         p->add_raw_input_contents("a");
       }},
      {"input text_input has 3 raw bytes", [](P p) { p->add_raw_input_contents("abc"); }},
      {"input text_input has 6 raw bytes",
       [](P p) { p->add_raw_input_contents(std::string("\7\0\0\0ab", 6)); }},
      {"input stream has 0 elements in bool_contents", [](P p) { AddInput("stream", "BOOL", p); }},
      {"exclude_input_in_output is false",
       [](P p) {
         AddFlag("stream", true, p);
         AddFlag("exclude_input_in_output", false, p);
       }},
      {"return_logprobs is true; it needs logprobs",
       [](P p) { AddFlag("return_logprobs", true, p); }},
      {"sampling_parameters is not a JSON object", parameters("[1]")},
      {"sampling_parameters is not a JSON object", parameters("{")},
      {"sampling_parameters: JSON nested deeper than 2 levels", parameters(R"({"stop": [["a"]]})")},
      {"sampling_parameters: top_k is given twice in one object",
       parameters(R"({"top_k": 1, "top_k": 2})")},
      {R"(sampling_parameters: n is \"nan\"; it must be)", parameters(R"({"n": "nan"})")},
      {"sampling_parameters: best_of is not known here", parameters(R"({"best_of": 2})")},
      {R"(sampling_parameters: temperature is \"hot\"; it must be a number)",
       parameters(R"({"temperature": "hot"})")},
      {"sampling_parameters: max_tokens is 1.5; it must be a whole number",
       parameters(R"({"max_tokens": 1.5})")},
      {"sampling_parameters: n is -1", parameters(R"({"n": -1})")},
      {"sampling_parameters: stop must be a list", parameters(R"({"stop": 3})")},
      {"sampling_parameters: ignore_eos is 3", parameters(R"({"ignore_eos": 3})")},
      {"n is 17; it must be from 1 to 16", parameters(R"({"n": 17})")},
      {"temperature is -1", parameters(R"({"temperature": -1})")},
  };
  for (const auto& [message, spoil] : cases) {
    ModelInferRequest proto = Valid();
    spoil(&proto);
    const absl::StatusOr<InferTerms> terms = TermsFromInfer(proto, kModel, kArrival);
    const absl::Status status =
        terms.ok() ? WithInferNames(ValidateRequest(terms->request)) : terms.status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message << " but " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(InferRequestTest, AnotherModelIsNotFound) {
  ModelInferRequest proto = Valid();
  proto.set_model_name("huge");
  EXPECT_TRUE(absl::IsNotFound(TermsFromInfer(proto, kModel, kArrival).status()));
  EXPECT_TRUE(CheckModel(kModel, "1", kModel).ok());
  EXPECT_TRUE(absl::IsNotFound(CheckModel(kModel, "2", kModel)));
}

// ---- Answers ----

// The elements of a BYTES output; empty if there is no such output.
std::vector<std::string> BytesOf(const ModelInferResponse& proto, const std::string& name) {
  std::vector<std::string> elements;
  for (int i = 0; i < proto.outputs_size(); ++i) {
    if (proto.outputs(i).name() != name) continue;
    const std::string& raw = proto.raw_output_contents(i);
    for (size_t at = 0; at < raw.size();) {
      const auto size = static_cast<unsigned char>(raw[at]);
      elements.push_back(raw.substr(at + 4, size));
      at += 4 + size;
    }
    EXPECT_EQ(proto.outputs(i).shape(0), elements.size());
  }
  return elements;
}

bool IsFinal(const ModelInferResponse& proto) {
  return proto.parameters().at("triton_final_response").bool_param();
}

Delta News(uint32_t sample, const std::string& text, bool end) {
  Delta delta;
  delta.sample = sample;
  delta.text = text;
  delta.tokens = {
      {.id = 0, .depth = 1, .text_bytes = static_cast<uint32_t>(text.size()), .logprobs = {}}};
  delta.prompt_tokens = 5;
  delta.generated_tokens = 1;
  if (end) delta.finish.emplace().reason = EndReason::kEndOfSequence;
  return delta;
}

TEST(InferAnswerTest, AStreamRespondsToEachDelta) {
  FakeEngine engine;
  ModelInferRequest proto = Valid();
  AddFlag("stream", true, &proto);
  AddFlag("return_finish_reason", true, &proto);
  InferAnswer answer(proto, *TermsFromInfer(proto, kModel, kArrival));
  const auto first = answer.Take(News(0, "a", false), engine);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->id(), "7");
  EXPECT_EQ(first->model_name(), kModel);
  EXPECT_THAT(BytesOf(*first, "text_output"), ElementsAre("a"));
  EXPECT_THAT(BytesOf(*first, "finish_reason"), ElementsAre("None"));
  EXPECT_FALSE(IsFinal(*first));
  const auto last = answer.Take(News(0, "b", true), engine);
  ASSERT_TRUE(last.has_value());
  EXPECT_THAT(BytesOf(*last, "text_output"), ElementsAre("b"));
  EXPECT_THAT(BytesOf(*last, "finish_reason"), ElementsAre("stop"));
  EXPECT_TRUE(IsFinal(*last));
}

TEST(InferAnswerTest, WithoutStreamAllSamplesComeAtOnceWithTheInput) {
  FakeEngine engine;
  ModelInferRequest proto = Valid();
  AddText("sampling_parameters", R"({"n": 2, "logprobs": 1})", &proto);
  AddFlag("return_logprobs", true, &proto);
  AddFlag("return_num_output_tokens", true, &proto);
  InferAnswer answer(proto, *TermsFromInfer(proto, kModel, kArrival));
  Delta delta = News(1, "b", true);
  delta.tokens[0].id = 3;
  delta.tokens[0].logprobs = PositionLogprobs{-0.5F, {{4, -0.25F}, {3, -0.5F}}};
  EXPECT_FALSE(answer.Take(delta, engine).has_value());
  EXPECT_FALSE(answer.Take(News(0, "a", false), engine).has_value());
  const auto all = answer.Take(News(0, "c", true), engine);
  ASSERT_TRUE(all.has_value());
  EXPECT_TRUE(IsFinal(*all));
  EXPECT_THAT(BytesOf(*all, "text_output"), ElementsAre("helloac", "hellob"));
  EXPECT_THAT(BytesOf(*all, "finish_reason"), ElementsAre());
  const std::vector<std::string> logprobs = BytesOf(*all, "logprobs");
  ASSERT_EQ(logprobs.size(), 2);
  EXPECT_EQ(logprobs[0], "[]");
  EXPECT_THAT(logprobs[1], HasSubstr(R"("logprob":-0.5,"rank":2)"));
  EXPECT_THAT(logprobs[1], HasSubstr(R"("logprob":-0.25,"rank":1)"));
}

TEST(InferAnswerTest, MetadataAndConfigurationListTheSameTensors) {
  FakeEngine engine;
  inference::ModelMetadataResponse metadata;
  FillModelMetadata(engine.Info(), &metadata);
  inference::ModelConfig config;
  FillModelConfig(engine.Info(), &config);
  EXPECT_TRUE(config.model_transaction_policy().decoupled());
  ASSERT_EQ(metadata.inputs_size(), config.input_size());
  for (int i = 0; i < config.input_size(); ++i) {
    EXPECT_EQ(metadata.inputs(i).name(), config.input(i).name());
    EXPECT_EQ(config.input(i).optional(), config.input(i).name() != "text_input");
  }
  ASSERT_EQ(metadata.outputs_size(), config.output_size());
}

}  // namespace
}  // namespace recurve
