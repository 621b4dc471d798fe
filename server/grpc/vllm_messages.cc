// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/vllm_messages.h"

#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/api/refusal.h"
#include "engine/base/status_macros.h"
#include "server/call/ids.h"
#include "server/grpc/vllm_finish_reason.h"

namespace recurve {
namespace {

absl::Status NotHere(absl::string_view field) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is set; this server has no such thing, leave it out"));
}

// A field of a newer protocol would be ignored without a word.
absl::Status CheckKnown(const google::protobuf::Message& message, absl::string_view name) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  if (unknown.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " has the field number ",
                                                 unknown.field(0).number(),
                                                 ", which this server does not know"));
}

absl::Status CheckHasAll(const vllm_proto::GenerateRequest& proto) {
  RETURN_IF_ERROR(CheckKnown(proto, "the request"));
  RETURN_IF_ERROR(CheckKnown(proto.sampling_params(), "sampling_params"));
  if (proto.has_kv_transfer_params()) return NotHere("kv_transfer_params");
  if (proto.has_kv_transfer_params_json()) return NotHere("kv_transfer_params_json");
  if (proto.has_mm_inputs()) return NotHere("mm_inputs");
  if (proto.data_parallel_rank() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("data_parallel_rank is ", proto.data_parallel_rank(), "; it must be 0"));
  }
  using Params = vllm_proto::SamplingParams;
  const auto constraint = proto.sampling_params().constraint_case();
  if (constraint != Params::CONSTRAINT_NOT_SET) {
    return NotHere(absl::StrCat("sampling_params.",
                                Params::descriptor()->FindFieldByNumber(constraint)->name()));
  }
  return absl::OkStatus();
}

// Of the token ids the first that is not cut off.
int FirstId(const vllm_proto::GenerateRequest& proto) {
  const vllm_proto::SamplingParams& params = proto.sampling_params();
  if (!params.has_truncate_prompt_tokens()) return 0;
  return std::max(
      0, proto.tokenized().input_ids_size() - std::max(0, params.truncate_prompt_tokens()));
}

absl::Status ReadPrompt(const vllm_proto::GenerateRequest& proto, Request* request) {
  const vllm_proto::SamplingParams& params = proto.sampling_params();
  switch (proto.input_case()) {
    case vllm_proto::GenerateRequest::kText:
      if (params.has_truncate_prompt_tokens()) {
        return NotHere("sampling_params.truncate_prompt_tokens, of a prompt that is text,");
      }
      request->prompt = proto.text();
      return absl::OkStatus();
    case vllm_proto::GenerateRequest::kTokenized: {
      const int most = params.truncate_prompt_tokens();
      if (params.has_truncate_prompt_tokens() && most < 1) {
        return absl::InvalidArgumentError(absl::StrCat("sampling_params.truncate_prompt_tokens is ",
                                                       most, "; it must be at least 1"));
      }
      const auto& ids = proto.tokenized().input_ids();
      request->prompt = std::vector<uint32_t>(ids.begin() + FirstId(proto), ids.end());
      return absl::OkStatus();
    }
    case vllm_proto::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("input is not set; give text or tokenized");
}

absl::Status ReadLogprobs(const vllm_proto::GenerateRequest& proto, Request* request) {
  const vllm_proto::SamplingParams& params = proto.sampling_params();
  for (const auto& [name, value] : {std::pair("logprobs", params.logprobs()),
                                    std::pair("prompt_logprobs", params.prompt_logprobs())}) {
    if (value >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("sampling_params.", name, " is ", value,
                                                   "; it must be from 0 to ", kMaxTopLogprobs));
  }
  if (params.has_prompt_logprobs() && !proto.has_tokenized()) {
    return absl::InvalidArgumentError(
        "sampling_params.prompt_logprobs is set; it needs a tokenized input");
  }
  request->logprobs = params.has_logprobs();
  request->prompt_logprobs = params.has_prompt_logprobs();
  request->top_logprobs =
      static_cast<uint32_t>(std::max(params.logprobs(), params.prompt_logprobs()));
  return absl::OkStatus();
}

absl::Status ReadSampling(const vllm_proto::SamplingParams& proto, Request* request) {
  SamplingParams& sampling = request->sampling;
  sampling.temperature = proto.has_temperature() ? proto.temperature() : 1.0F;
  if (proto.top_p() != 0) sampling.top_p = proto.top_p();
  sampling.top_k = proto.top_k();
  sampling.min_p = proto.min_p();
  sampling.frequency_penalty = proto.frequency_penalty();
  sampling.presence_penalty = proto.presence_penalty();
  if (proto.repetition_penalty() != 0) sampling.repetition_penalty = proto.repetition_penalty();
  sampling.set_seed(proto.has_seed() ? static_cast<uint64_t>(int64_t{proto.seed()}) : RandomBits());
  for (const auto& [id, bias] : proto.logit_bias()) {
    if (id < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("sampling_params.logit_bias has the token id ", id, "; ids begin at 0"));
    }
    request->logit_bias[static_cast<uint32_t>(id)] = bias;
  }
  return absl::OkStatus();
}

// Request's fields that this protocol calls otherwise than "sampling_params." and their name.
const std::map<std::string, std::string, std::less<>>& Paths() {
  static const auto* const paths = new std::map<std::string, std::string, std::less<>>{
      {"samples", "sampling_params.n"},
      {"stop_strings", "sampling_params.stop"},
      {"top_logprobs", "sampling_params.logprobs or prompt_logprobs"},
      {"prompt", "input"},
      {"tokens", "tokenized.input_ids"},
      {"text", "text"},
  };
  return *paths;
}

void AddTop(const PositionLogprobs& from, uint32_t top, vllm_proto::TopLogProbs* proto) {
  for (size_t i = 0; i < std::min<size_t>(top, from.top.size()); ++i) {
    proto->add_values(from.top[i].logprob);
    proto->add_token_ids(from.top[i].id);
  }
}

std::optional<uint32_t> Wanted(bool set, int32_t top) {
  return set ? std::optional(static_cast<uint32_t>(std::max(0, top))) : std::nullopt;
}

}  // namespace

absl::StatusOr<Request> RequestFromVllm(const vllm_proto::GenerateRequest& proto,
                                        SteadyTime arrival) {
  RETURN_IF_ERROR(CheckHasAll(proto));
  const vllm_proto::SamplingParams& params = proto.sampling_params();
  Request request;
  request.arrival = arrival;
  RETURN_IF_ERROR(ReadPrompt(proto, &request));
  RETURN_IF_ERROR(ReadSampling(params, &request));
  RETURN_IF_ERROR(ReadLogprobs(proto, &request));
  if (params.has_max_tokens()) request.max_tokens = params.max_tokens();
  request.min_tokens = params.min_tokens();
  request.stop_strings.assign(params.stop().begin(), params.stop().end());
  request.stop_token_ids.assign(params.stop_token_ids().begin(), params.stop_token_ids().end());
  request.ignore_eos = params.ignore_eos();
  request.samples = std::max(1U, params.n());
  // Of a text that ends with a stop string the tokens are told that it consists of.
  request.include_stop_string = params.include_stop_str_in_output();
  request.skip_special_tokens = params.skip_special_tokens();  // in which text stops are looked for
  return request;
}

absl::Status WithVllmPaths(const absl::Status& status) {
  std::optional<Refusal> refusal = RefusalIn(status);
  if (!refusal.has_value()) return status;
  const size_t name = std::min(refusal->field.find('['), refusal->field.size());
  const auto found = Paths().find(refusal->field.substr(0, name));
  refusal->field.replace(0, name,
                         found != Paths().end()
                             ? found->second
                             : absl::StrCat("sampling_params.", refusal->field.substr(0, name)));
  return ToStatus(*refusal);
}

PromptSize SizeOf(const vllm_proto::GenerateRequest& proto) {
  const int ids = proto.tokenized().input_ids_size() - FirstId(proto);
  return {.text_bytes = proto.text().size(), .ids = static_cast<size_t>(ids)};
}

VllmAnswer::VllmAnswer(const vllm_proto::GenerateRequest& proto)
    : streams_(proto.stream()),
      prompt_(proto.sampling_params().has_prompt_logprobs()
                  ? std::vector<uint32_t>(proto.tokenized().input_ids().begin(),
                                          proto.tokenized().input_ids().end())
                  : std::vector<uint32_t>()),
      top_(Wanted(proto.sampling_params().has_logprobs(), proto.sampling_params().logprobs())),
      prompt_top_(Wanted(proto.sampling_params().has_prompt_logprobs(),
                         proto.sampling_params().prompt_logprobs())) {}

void VllmAnswer::AddTokens(const Delta& delta, vllm_proto::OutputLogProbs* logprobs) const {
  for (const DeltaToken& token : delta.tokens) {
    if (!token.logprobs) continue;
    logprobs->add_token_logprobs(token.logprobs->logprob);
    logprobs->add_token_ids(token.id);
    AddTop(*token.logprobs, *top_, logprobs->add_top_logprobs());
  }
}

vllm_proto::InputLogProbs VllmAnswer::PromptLogprobs(
    const std::vector<PositionLogprobs>& positions) const {
  vllm_proto::InputLogProbs proto;
  const size_t first = prompt_.size() - positions.size() - 1;  // others were cut from the front
  proto.add_token_logprobs();
  proto.add_token_ids(prompt_[first]);
  proto.add_top_logprobs();
  for (size_t i = 0; i < positions.size(); ++i) {
    proto.add_token_logprobs()->set_value(positions[i].logprob);
    proto.add_token_ids(prompt_[first + 1 + i]);
    AddTop(positions[i], *prompt_top_, proto.add_top_logprobs());
  }
  return proto;
}

void VllmAnswer::FillComplete(const Delta& delta, Sample* sample,
                              vllm_proto::GenerateComplete* proto) const {
  const Finish& finish = *delta.finish;
  proto->mutable_output_ids()->Assign(sample->ids.begin(), sample->ids.end());
  proto->set_finish_reason(VllmFinishReason(finish.reason));
  proto->set_prompt_tokens(delta.prompt_tokens);
  proto->set_completion_tokens(delta.generated_tokens);
  proto->set_cached_tokens(finish.cached_tokens);
  if (top_) *proto->mutable_output_logprobs() = std::move(sample->logprobs);
  proto->set_index(delta.sample);
  if (finish.stop_token_id) proto->set_matched_token_id(*finish.stop_token_id);
  if (finish.stop_string) proto->set_matched_stop_str(*finish.stop_string);
}

std::vector<vllm_proto::GenerateResponse> VllmAnswer::Take(const Delta& delta) {
  if (samples_.size() <= delta.sample) samples_.resize(delta.sample + 1);
  Sample& sample = samples_[delta.sample];
  for (const DeltaToken& token : delta.tokens) sample.ids.push_back(token.id);
  if (delta.prompt_logprobs && prompt_top_) {
    prompt_logprobs_ = PromptLogprobs(*delta.prompt_logprobs);
  }
  std::vector<vllm_proto::GenerateResponse> messages;
  if (streams_ && !delta.tokens.empty()) {
    vllm_proto::GenerateStreamChunk* chunk = messages.emplace_back().mutable_chunk();
    for (const DeltaToken& token : delta.tokens) chunk->add_token_ids(token.id);
    chunk->set_prompt_tokens(delta.prompt_tokens);
    chunk->set_completion_tokens(delta.generated_tokens);
    if (top_) AddTokens(delta, chunk->mutable_output_logprobs());
    if (delta.sample == 0 && prompt_logprobs_) {
      *chunk->mutable_input_logprobs() = *std::exchange(prompt_logprobs_, std::nullopt);
    }
    chunk->set_index(delta.sample);
  }
  if (top_) AddTokens(delta, &sample.logprobs);
  if (delta.finish) {
    vllm_proto::GenerateComplete* complete = messages.emplace_back().mutable_complete();
    FillComplete(delta, &sample, complete);
    if (delta.sample == 0 && prompt_logprobs_) {
      *complete->mutable_input_logprobs() = *std::exchange(prompt_logprobs_, std::nullopt);
    }
  }
  return messages;
}

void FillVllmModelInfo(const EngineInfo& info, const std::string& directory,
                       vllm_proto::GetModelInfoResponse* proto) {
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(directory, error).string();
  proto->set_model_path(absolute);
  proto->set_is_generation(true);
  proto->set_max_context_length(info.max_context);
  proto->set_vocab_size(info.vocab_size);
  proto->set_served_model_name(info.model_name);
  if (info.has_tokenizer) proto->set_tokenizer_path(absolute);
  proto->set_model_type("llama");
  proto->add_architectures("LlamaForCausalLM");
  for (const uint32_t id : info.eos_token_ids) proto->add_eos_token_ids(static_cast<int32_t>(id));
  proto->set_max_req_input_len(static_cast<int32_t>(info.max_context));
}

void FillVllmLoad(const EngineInfo& info, const EngineSnapshot& snapshot, double tokens_per_second,
                  vllm_proto::SchedulerLoad* proto) {
  const ScheduleCounters& counters = snapshot.schedule;
  const uint32_t slots = info.options.schedule.slots;
  proto->set_num_running_reqs(static_cast<int32_t>(counters.running));
  proto->set_num_waiting_reqs(static_cast<int32_t>(counters.waiting));
  proto->set_num_total_reqs(static_cast<int32_t>(counters.running + counters.waiting));
  proto->set_token_usage(
      info.kv_pages == 0 ? 0 : static_cast<double>(counters.pages_reserved) / info.kv_pages);
  proto->set_gen_throughput(tokens_per_second);
  proto->set_cache_hit_rate(counters.prefix_tokens_wanted == 0
                                ? 0
                                : static_cast<double>(counters.prefix_tokens_found) /
                                      static_cast<double>(counters.prefix_tokens_wanted));
  proto->set_utilization(static_cast<double>(counters.running) / slots);
  proto->set_max_running_requests(static_cast<int32_t>(slots));
}

}  // namespace recurve
