// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/request_from_proto.h"

#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"
#include "recurve/v1/generation.pb.h"
#include "server/call/ids.h"

namespace recurve {
namespace {

template <typename T>
absl::Status Invalid(absl::string_view field, T value, absl::string_view expected) {
  if constexpr (std::is_floating_point_v<T>) {
    return Invalid(field, Shortest(value), expected);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " is ", value, "; it must be ", expected));
  }
}

absl::Status TooMany(absl::string_view field, absl::string_view unit, size_t found, size_t most) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " has ", found, " ", unit, "; at most ", most, " are allowed"));
}

// Written so that NaN fails.
absl::Status CheckBetween(absl::string_view field, float value, float least, float most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Invalid(field, value, absl::StrCat("from ", least, " to ", most));
}

absl::Status ReadPrompt(const v1::GenerateRequest& proto, Request* request) {
  switch (proto.prompt_case()) {
    case v1::GenerateRequest::kText:
      request->prompt = proto.text();
      if (proto.generated_prefix() != 0) {
        return Invalid("generated_prefix", proto.generated_prefix(),
                       "0 with a text prompt; give the prompt as tokens");
      }
      break;
    case v1::GenerateRequest::kTokens: {
      const auto& ids = proto.tokens().ids();
      request->prompt = std::vector<uint32_t>(ids.begin(), ids.end());
      if (proto.generated_prefix() > static_cast<uint32_t>(ids.size())) {
        return Invalid("generated_prefix", proto.generated_prefix(),
                       absl::StrCat("at most the number of prompt tokens, ", ids.size()));
      }
      break;
    }
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return absl::InvalidArgumentError("prompt is not set; give text or tokens");
  }
  request->generated_prefix = proto.generated_prefix();
  if (proto.has_add_special_tokens()) request->add_special_tokens = proto.add_special_tokens();
  return absl::OkStatus();
}

absl::Status ReadSampling(const v1::SamplingParams& proto, Request* request) {
  if (proto.has_repetition_penalty()) request->repetition_penalty = proto.repetition_penalty();
  if (!(request->repetition_penalty > 0.0F && request->repetition_penalty <= 100.0F)) {
    return Invalid("sampling.repetition_penalty", request->repetition_penalty,
                   "greater than 0 and at most 100");
  }
  request->presence_penalty = proto.presence_penalty();
  RETURN_IF_ERROR(
      CheckBetween("sampling.presence_penalty", request->presence_penalty, -100.0F, 100.0F));
  request->frequency_penalty = proto.frequency_penalty();
  RETURN_IF_ERROR(
      CheckBetween("sampling.frequency_penalty", request->frequency_penalty, -100.0F, 100.0F));
  if (proto.logit_bias().size() > kMaxLogitBiases) {
    return TooMany("sampling.logit_bias", "entries", proto.logit_bias().size(), kMaxLogitBiases);
  }
  for (const auto& [id, bias] : proto.logit_bias()) {
    RETURN_IF_ERROR(
        CheckBetween(absl::StrCat("sampling.logit_bias[", id, "]"), bias, -1000.0F, 1000.0F));
    request->logit_bias[id] = bias;
  }
  request->temperature = proto.temperature();
  RETURN_IF_ERROR(CheckBetween("sampling.temperature", request->temperature, 0.0F, 100.0F));
  request->top_k = proto.top_k();
  if (proto.has_top_p()) request->top_p = proto.top_p();
  if (!(request->top_p > 0.0F && request->top_p <= 1.0F)) {
    return Invalid("sampling.top_p", request->top_p, "greater than 0 and at most 1");
  }
  request->min_p = proto.min_p();
  if (!(request->min_p >= 0.0F && request->min_p < 1.0F)) {
    return Invalid("sampling.min_p", request->min_p, "at least 0 and less than 1");
  }
  request->seed = proto.has_seed() ? proto.seed() : RandomBits();
  return absl::OkStatus();
}

absl::Status ReadStop(const v1::GenerateRequest& proto, Request* request) {
  const v1::StopParams& stop = proto.stop();
  if (stop.has_max_tokens()) {
    request->max_tokens = stop.max_tokens();
    if (stop.max_tokens() == 0 && !proto.output().prompt_logprobs()) {
      return Invalid("stop.max_tokens", 0, "at least 1 without output.prompt_logprobs");
    }
    const uint64_t most = uint64_t{stop.max_tokens()} + proto.generated_prefix();
    if (stop.min_tokens() > most) {
      return Invalid("stop.min_tokens", stop.min_tokens(),
                     absl::StrCat("at most stop.max_tokens + generated_prefix, ", most));
    }
  }
  request->min_tokens = stop.min_tokens();
  if (stop.stop_strings_size() > static_cast<int>(kMaxStopStrings)) {
    return TooMany("stop.stop_strings", "entries", stop.stop_strings_size(), kMaxStopStrings);
  }
  for (int i = 0; i < stop.stop_strings_size(); ++i) {
    const std::string& text = stop.stop_strings(i);
    if (text.empty() || text.size() > kMaxStopStringBytes) {
      return absl::InvalidArgumentError(absl::StrCat("stop.stop_strings[", i, "] has ", text.size(),
                                                     " bytes; it must have from 1 to ",
                                                     kMaxStopStringBytes));
    }
    request->stop_strings.push_back(text);
  }
  if (stop.stop_token_ids_size() > static_cast<int>(kMaxStopTokenIds)) {
    return TooMany("stop.stop_token_ids", "entries", stop.stop_token_ids_size(), kMaxStopTokenIds);
  }
  request->stop_token_ids.assign(stop.stop_token_ids().begin(), stop.stop_token_ids().end());
  request->include_stop_string = stop.include_stop_string();
  request->ignore_eos = stop.ignore_eos();
  return absl::OkStatus();
}

absl::Status ReadOutput(const v1::OutputParams& proto, Request* request) {
  request->top_logprobs = proto.top_logprobs();
  if (request->top_logprobs > kMaxTopLogprobs) {
    return Invalid("output.top_logprobs", request->top_logprobs,
                   absl::StrCat("at most ", kMaxTopLogprobs));
  }
  request->logprobs = proto.logprobs();
  request->prompt_logprobs = proto.prompt_logprobs();
  if (proto.has_skip_special_tokens()) request->skip_special_tokens = proto.skip_special_tokens();
  request->prompt_depths = proto.prompt_depths();
  return absl::OkStatus();
}

absl::Status ReadRecursion(const v1::RecursionParams& proto, Request* request) {
  if (proto.has_max_recursions()) request->max_recursions = proto.max_recursions();
  if (proto.has_router_threshold()) {
    request->router_threshold = proto.router_threshold();
    RETURN_IF_ERROR(
        CheckBetween("recursion.router_threshold", proto.router_threshold(), 0.0F, 1.0F));
  }
  if (proto.has_adaptive_min()) request->adaptive_min = proto.adaptive_min();
  return absl::OkStatus();
}

absl::Status ReadSamples(const v1::GenerateRequest& proto, Request* request) {
  if (proto.has_samples()) request->samples = proto.samples();
  if (request->samples == 0 || request->samples > kMaxSamples) {
    return Invalid("samples", request->samples, absl::StrCat("from 1 to ", kMaxSamples));
  }
  if (request->samples > 1 && request->max_tokens == 0U) {
    return Invalid("stop.max_tokens", 0, "at least 1 with several samples");
  }
  return absl::OkStatus();
}

absl::Status ReadTurn(const v1::GenerateRequest& proto, Request* request) {
  switch (proto.priority()) {
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      request->priority = Priority::kNormal;
      break;
    case v1::PRIORITY_HIGH:
      request->priority = Priority::kHigh;
      break;
    case v1::PRIORITY_LOW:
      request->priority = Priority::kLow;
      break;
    default:
      return Invalid("priority", proto.priority(), "one of the names of recurve.v1.Priority");
  }
  if (proto.has_queue_timeout_ms()) {
    if (proto.queue_timeout_ms() == 0) return Invalid("queue_timeout_ms", 0, "at least 1");
    request->queue_deadline =
        request->arrival + std::chrono::milliseconds(proto.queue_timeout_ms());
  }
  return absl::OkStatus();
}

void ReadKv(const v1::KvParams& proto, Request* request) {
  if (proto.has_eviction()) request->kv_eviction = proto.eviction();
  if (proto.has_budget()) request->kv_budget = proto.budget();
  if (proto.has_sinks()) request->kv_sinks = proto.sinks();
  if (proto.has_recent()) request->kv_recent = proto.recent();
}

void ReadPrefix(const v1::PrefixParams& proto, Request* request) {
  if (proto.has_cache_prompt()) request->cache_prompt = proto.cache_prompt();
  if (proto.has_cache_generated()) request->cache_generated = proto.cache_generated();
}

}  // namespace

absl::StatusOr<Request> RequestFromProto(const v1::GenerateRequest& proto, SteadyTime arrival) {
  Request request;
  request.arrival = arrival;
  RETURN_IF_ERROR(ReadPrompt(proto, &request));
  RETURN_IF_ERROR(ReadSampling(proto.sampling(), &request));
  RETURN_IF_ERROR(ReadStop(proto, &request));
  RETURN_IF_ERROR(ReadOutput(proto.output(), &request));
  RETURN_IF_ERROR(ReadSamples(proto, &request));
  RETURN_IF_ERROR(ReadRecursion(proto.recursion(), &request));
  RETURN_IF_ERROR(ReadTurn(proto, &request));
  ReadKv(proto.kv(), &request);
  ReadPrefix(proto.prefix(), &request);
  if (proto.has_time_limit_ms()) {
    if (proto.time_limit_ms() == 0) return Invalid("time_limit_ms", 0, "at least 1");
    request.time_limit = arrival + std::chrono::milliseconds(proto.time_limit_ms());
  }
  return request;
}

absl::Status CheckPromptSize(const v1::GenerateRequest& proto, const EngineInfo& info) {
  const auto ids = static_cast<size_t>(proto.tokens().ids_size());
  if (ids > info.max_context) {
    return absl::InvalidArgumentError(absl::StrCat("tokens has ", ids,
                                                   " ids; at most the context of ",
                                                   info.max_context, " tokens is allowed"));
  }
  if (info.max_prompt_bytes && proto.text().size() > *info.max_prompt_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("text has ", proto.text().size(), " bytes; the context of ", info.max_context,
                     " tokens holds at most ", *info.max_prompt_bytes, " of this tokenizer"));
  }
  return absl::OkStatus();
}

}  // namespace recurve
