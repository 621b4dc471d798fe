// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/request_from_proto.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/api/refusal.h"
#include "engine/base/status_macros.h"
#include "recurve/v1/generation.pb.h"
#include "server/call/ids.h"

namespace recurve {
namespace {

absl::Status Invalid(absl::string_view field, int value, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, "; it must be ", expected));
}

absl::Status ReadPrompt(const v1::GenerateRequest& proto, Request* request) {
  switch (proto.prompt_case()) {
    case v1::GenerateRequest::kText:
      request->prompt = proto.text();
      break;
    case v1::GenerateRequest::kTokens: {
      const auto& ids = proto.tokens().ids();
      request->prompt = std::vector<uint32_t>(ids.begin(), ids.end());
      break;
    }
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return absl::InvalidArgumentError("prompt is not set; give text or tokens");
  }
  request->generated_prefix = proto.generated_prefix();
  if (proto.has_add_special_tokens()) request->add_special_tokens = proto.add_special_tokens();
  return absl::OkStatus();
}

void ReadSampling(const v1::SamplingParams& proto, Request* request) {
  SamplingParams& sampling = request->sampling;
  if (proto.has_repetition_penalty()) sampling.repetition_penalty = proto.repetition_penalty();
  sampling.presence_penalty = proto.presence_penalty();
  sampling.frequency_penalty = proto.frequency_penalty();
  sampling.temperature = proto.temperature();
  sampling.top_k = proto.top_k();
  if (proto.has_top_p()) sampling.top_p = proto.top_p();
  sampling.min_p = proto.min_p();
  sampling.set_seed(proto.has_seed() ? proto.seed() : RandomBits());
  request->logit_bias.insert(proto.logit_bias().begin(), proto.logit_bias().end());
}

void ReadStop(const v1::StopParams& proto, Request* request) {
  if (proto.has_max_tokens()) request->max_tokens = proto.max_tokens();
  request->min_tokens = proto.min_tokens();
  request->stop_strings.assign(proto.stop_strings().begin(), proto.stop_strings().end());
  request->stop_token_ids.assign(proto.stop_token_ids().begin(), proto.stop_token_ids().end());
  request->include_stop_string = proto.include_stop_string();
  request->ignore_eos = proto.ignore_eos();
}

void ReadOutput(const v1::OutputParams& proto, Request* request) {
  request->top_logprobs = proto.top_logprobs();
  request->logprobs = proto.logprobs();
  request->prompt_logprobs = proto.prompt_logprobs();
  if (proto.has_skip_special_tokens()) request->skip_special_tokens = proto.skip_special_tokens();
  request->prompt_depths = proto.prompt_depths();
}

void ReadRecursion(const v1::RecursionParams& proto, Request* request) {
  if (proto.has_max_recursions()) request->max_recursions = proto.max_recursions();
  if (proto.has_router_threshold()) request->router_threshold = proto.router_threshold();
  if (proto.has_adaptive_min()) request->adaptive_min = proto.adaptive_min();
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

// Where the message has the fields of Request that it keeps elsewhere than at its top.
const std::map<std::string, std::string, std::less<>>& Paths() {
  static const auto* paths = [] {
    auto* all = new std::map<std::string, std::string, std::less<>>;
    const std::pair<const char*, std::vector<const char*>> groups[] = {
        {"sampling",
         {"repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias",
          "temperature", "top_k", "top_p", "min_p"}},
        {"stop", {"max_tokens", "min_tokens", "stop_strings", "stop_token_ids"}},
        {"output", {"top_logprobs"}},
        {"recursion", {"max_recursions", "router_threshold", "adaptive_min"}}};
    for (const auto& [group, fields] : groups) {
      for (const char* field : fields) (*all)[field] = absl::StrCat(group, ".", field);
    }
    return all;
  }();
  return *paths;
}

}  // namespace

absl::StatusOr<Request> RequestFromProto(const v1::GenerateRequest& proto, SteadyTime arrival) {
  Request request;
  request.arrival = arrival;
  RETURN_IF_ERROR(ReadPrompt(proto, &request));
  ReadSampling(proto.sampling(), &request);
  ReadStop(proto.stop(), &request);
  ReadOutput(proto.output(), &request);
  if (proto.has_samples()) request.samples = proto.samples();
  ReadRecursion(proto.recursion(), &request);
  RETURN_IF_ERROR(ReadTurn(proto, &request));
  ReadKv(proto.kv(), &request);
  ReadPrefix(proto.prefix(), &request);
  if (proto.has_time_limit_ms()) {
    if (proto.time_limit_ms() == 0) return Invalid("time_limit_ms", 0, "at least 1");
    request.time_limit = arrival + std::chrono::milliseconds(proto.time_limit_ms());
  }
  return request;
}

absl::Status WithProtoPaths(const absl::Status& status) {
  std::optional<Refusal> refusal = RefusalIn(status);
  if (!refusal.has_value()) return status;
  const size_t name = std::min(refusal->field.find('['), refusal->field.size());  // "f[3]"
  const auto found = Paths().find(refusal->field.substr(0, name));
  if (found == Paths().end()) return status;
  refusal->field.replace(0, name, found->second);
  return ToStatus(*refusal);
}

absl::Status CheckPromptSize(const PromptSize& size, const EngineInfo& info) {
  const size_t own_ids = size.ids - std::min(size.ids, size.generated_ids);
  if (own_ids > info.max_context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens has ", own_ids, " ids", size.generated_ids > 0 ? " before generated_prefix" : "",
        "; at most the context of ", info.max_context, " tokens is allowed"));
  }
  const size_t text_bytes = size.text_bytes;
  if (info.max_prompt_bytes && text_bytes > *info.max_prompt_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("text has ", text_bytes, " bytes; the context of ", info.max_context,
                     " tokens holds at most ", *info.max_prompt_bytes, " of this tokenizer"));
  }
  return absl::OkStatus();
}

}  // namespace recurve
