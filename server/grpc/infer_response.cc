// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/infer_response.h"

#include <cstring>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/grpc/vllm_finish_reason.h"
#include "server/version.h"

namespace recurve {
namespace {

using inference::ModelInferResponse;

constexpr char kPlatform[] = "recurve";
constexpr char kVersionOfModel[] = "1";

const std::string& FinalKey() {
  static const auto* const key = new std::string("triton_final_response");
  return *key;
}

void AppendLittleEndian(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) {
    out->push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

// Adds an output of `elements` elements, whose raw contents are `raw`.
void AddOutput(const char* name, const char* datatype, size_t elements, std::string raw,
               ModelInferResponse* proto) {
  ModelInferResponse::InferOutputTensor* output = proto->add_outputs();
  output->set_name(name);
  output->set_datatype(datatype);
  output->add_shape(static_cast<int64_t>(elements));
  proto->add_raw_output_contents(std::move(raw));
}

// An element of a BYTES tensor.
void AppendBytes(std::string_view element, std::string* raw) {
  AppendLittleEndian(static_cast<uint32_t>(element.size()), raw);
  raw->append(element);
}

// What vLLM's backend says of a token: an object of the sampled and the most likely ids.
std::string LogprobsOf(const DeltaToken& token, const Engine& engine) {
  nlohmann::json object = nlohmann::json::object();
  const auto add = [&](TokenId id, float logprob, const nlohmann::json& rank) {
    nlohmann::json& entry = object[absl::StrCat(id)];
    entry["logprob"] = logprob;
    entry["rank"] = rank;
    entry["decoded_token"] = engine.TokenText(id);
  };
  add(token.id, token.logprobs->logprob, nullptr);  // its rank, unless it is among the following
  for (size_t i = 0; i < token.logprobs->top.size(); ++i) {
    add(token.logprobs->top[i].id, token.logprobs->top[i].logprob, i + 1);
  }
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct TensorFacts {
  const char* name;
  const char* datatype;
  inference::DataType type;
  int64_t size;
};
constexpr TensorFacts kInputs[] = {
    {"text_input", "BYTES", inference::TYPE_STRING, 1},
    {"stream", "BOOL", inference::TYPE_BOOL, 1},
    {"sampling_parameters", "BYTES", inference::TYPE_STRING, 1},
    {"exclude_input_in_output", "BOOL", inference::TYPE_BOOL, 1},
    {"return_finish_reason", "BOOL", inference::TYPE_BOOL, 1},
    {"return_cumulative_logprob", "BOOL", inference::TYPE_BOOL, 1},
    {"return_logprobs", "BOOL", inference::TYPE_BOOL, 1},
    {"return_num_input_tokens", "BOOL", inference::TYPE_BOOL, 1},
    {"return_num_output_tokens", "BOOL", inference::TYPE_BOOL, 1},
};
constexpr TensorFacts kOutputs[] = {
    {"text_output", "BYTES", inference::TYPE_STRING, -1},
    {"finish_reason", "BYTES", inference::TYPE_STRING, -1},
    {"cumulative_logprob", "FP32", inference::TYPE_FP32, -1},
    {"logprobs", "BYTES", inference::TYPE_STRING, -1},
    {"num_input_tokens", "UINT32", inference::TYPE_UINT32, 1},
    {"num_output_tokens", "UINT32", inference::TYPE_UINT32, -1},
};

void AddDuration(const StepTotals::Histogram& histogram, inference::StatisticDuration* proto) {
  proto->set_count(std::accumulate(histogram.counts.begin(), histogram.counts.end(), uint64_t{0}));
  proto->set_ns(proto->ns() + static_cast<uint64_t>(histogram.sum * 1e9));
}

}  // namespace

InferAnswer::InferAnswer(const inference::ModelInferRequest& proto, const InferTerms& terms)
    : stream_(terms.stream),
      finish_reason_(terms.finish_reason),
      cumulative_logprob_(terms.cumulative_logprob),
      logprobs_(terms.logprobs),
      num_input_tokens_(terms.num_input_tokens),
      num_output_tokens_(terms.num_output_tokens),
      samples_(terms.request.samples),
      unfinished_(terms.request.samples) {
  for (Sample& sample : samples_) sample.text = terms.prepended;
  frame_.set_model_name(proto.model_name());
  frame_.set_model_version(kVersionOfModel);
  frame_.set_id(proto.id());
}

void InferAnswer::Note(const Delta& delta, const Engine& engine) {
  Sample& sample = samples_[delta.sample];
  sample.text.append(delta.text);
  for (const DeltaToken& token : delta.tokens) {
    if (!logprobs_ || !token.logprobs) continue;
    if (!sample.logprobs.empty()) sample.logprobs.append(", ");
    sample.logprobs.append(LogprobsOf(token, engine));
  }
  sample.tokens = delta.generated_tokens;
  prompt_tokens_ = delta.prompt_tokens;
  if (!delta.finish) return;
  --unfinished_;
  sample.finish_reason = VllmFinishReason(delta.finish->reason);
  sample.cumulative_logprob = delta.finish->cumulative_logprob.value_or(0.0);
}

std::optional<ModelInferResponse> InferAnswer::Take(const Delta& delta, const Engine& engine) {
  Note(delta, engine);
  if (!stream_ && unfinished_ > 0) return std::nullopt;
  return Respond();
}

ModelInferResponse InferAnswer::Respond() {
  ModelInferResponse response = frame_;
  (*response.mutable_parameters())[FinalKey()].set_bool_param(unfinished_ == 0);
  std::string texts, reasons, sums, logprobs, tokens;
  for (Sample& sample : samples_) {
    AppendBytes(sample.text, &texts);
    sample.text.clear();
    AppendBytes(sample.finish_reason, &reasons);
    AppendBytes(absl::StrCat("[", sample.logprobs, "]"), &logprobs);
    sample.logprobs.clear();
    const auto sum = static_cast<float>(sample.cumulative_logprob);
    uint32_t bits = 0;
    std::memcpy(&bits, &sum, sizeof(bits));
    AppendLittleEndian(bits, &sums);
    AppendLittleEndian(sample.tokens - std::exchange(sample.told_tokens, sample.tokens), &tokens);
  }
  const size_t n = samples_.size();
  AddOutput("text_output", "BYTES", n, std::move(texts), &response);
  if (finish_reason_) AddOutput("finish_reason", "BYTES", n, std::move(reasons), &response);
  if (cumulative_logprob_) AddOutput("cumulative_logprob", "FP32", n, std::move(sums), &response);
  if (logprobs_) AddOutput("logprobs", "BYTES", n, std::move(logprobs), &response);
  if (num_input_tokens_) {
    std::string count;
    AppendLittleEndian(prompt_tokens_, &count);
    AddOutput("num_input_tokens", "UINT32", 1, std::move(count), &response);
  }
  if (num_output_tokens_) AddOutput("num_output_tokens", "UINT32", n, std::move(tokens), &response);
  return response;
}

void FillServerMetadata(inference::ServerMetadataResponse* proto) {
  proto->set_name("recurve");
  proto->set_version(kVersion);
  for (const char* extension : {"model_configuration", "statistics"}) {
    proto->mutable_extensions()->Add(std::string(extension));
  }
}

void FillModelMetadata(const EngineInfo& info, inference::ModelMetadataResponse* proto) {
  proto->set_name(info.model_name);
  proto->mutable_versions()->Add(std::string(kVersionOfModel));
  proto->set_platform(kPlatform);
  const auto fill = [](const TensorFacts& facts, auto* tensor) {
    tensor->set_name(facts.name);
    tensor->set_datatype(facts.datatype);
    tensor->add_shape(facts.size);
  };
  for (const TensorFacts& facts : kInputs) fill(facts, proto->add_inputs());
  for (const TensorFacts& facts : kOutputs) fill(facts, proto->add_outputs());
}

void FillModelConfig(const EngineInfo& info, inference::ModelConfig* proto) {
  proto->set_name(info.model_name);
  proto->set_platform(kPlatform);
  proto->set_backend(kPlatform);
  proto->mutable_model_transaction_policy()->set_decoupled(true);
  const auto fill = [](const TensorFacts& facts, auto* tensor) {
    tensor->set_name(facts.name);
    tensor->set_data_type(facts.type);
    tensor->add_dims(facts.size);
  };
  for (const TensorFacts& facts : kInputs) {
    inference::ModelInput* input = proto->add_input();
    fill(facts, input);
    input->set_optional(std::string_view(facts.name) != "text_input");
  }
  for (const TensorFacts& facts : kOutputs) fill(facts, proto->add_output());
}

void FillModelStatistics(const EngineInfo& info, const EngineSnapshot& snapshot,
                         const Metrics::Latencies& latencies, inference::ModelStatistics* proto) {
  proto->set_name(info.model_name);
  proto->set_version(kVersionOfModel);
  inference::InferStatistics* statistics = proto->mutable_inference_stats();
  AddDuration(latencies.end_to_end, statistics->mutable_success());
  AddDuration(latencies.queue, statistics->mutable_queue());
  AddDuration(latencies.prefill, statistics->mutable_compute_infer());
  AddDuration(latencies.decode, statistics->mutable_compute_infer());
  // Nothing but these takes time, of as many requests: perf_analyzer refuses counts that differ.
  statistics->mutable_compute_infer()->set_count(statistics->queue().count());
  statistics->mutable_compute_input()->set_count(statistics->queue().count());
  statistics->mutable_compute_output()->set_count(statistics->queue().count());
  proto->set_inference_count(statistics->success().count());
  proto->set_execution_count(snapshot.steps.count);
}

}  // namespace recurve
