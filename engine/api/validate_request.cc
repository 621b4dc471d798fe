// SPDX-License-Identifier: Apache-2.0
#include "engine/api/validate_request.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/api/refusal.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

absl::Status Refuse(absl::string_view field, const absl::AlphaNum& value,
                    absl::string_view expected) {
  return ToStatus(
      {std::string(field), absl::StrCat("is ", value), absl::StrCat("it must be ", expected)});
}

absl::Status CheckCount(absl::string_view field, absl::string_view unit, size_t found,
                        size_t most) {
  if (found <= most) return absl::OkStatus();
  return ToStatus({std::string(field), absl::StrCat("has ", found, " ", unit),
                   absl::StrCat("at most ", most, " are allowed")});
}

// Written so that NaN fails, as all that follow.
absl::Status CheckBetween(absl::string_view field, float value, float least, float most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Refuse(field, Shortest(value), absl::StrCat("from ", least, " to ", most));
}

absl::Status CheckSampling(const SamplingParams& sampling) {
  if (!(sampling.repetition_penalty > 0.0F && sampling.repetition_penalty <= 100.0F)) {
    return Refuse("repetition_penalty", Shortest(sampling.repetition_penalty),
                  "greater than 0 and at most 100");
  }
  RETURN_IF_ERROR(CheckBetween("presence_penalty", sampling.presence_penalty, -100.0F, 100.0F));
  RETURN_IF_ERROR(CheckBetween("frequency_penalty", sampling.frequency_penalty, -100.0F, 100.0F));
  RETURN_IF_ERROR(CheckBetween("temperature", sampling.temperature, 0.0F, 100.0F));
  if (!(sampling.top_p > 0.0F && sampling.top_p <= 1.0F)) {
    return Refuse("top_p", Shortest(sampling.top_p), "greater than 0 and at most 1");
  }
  if (!(sampling.min_p >= 0.0F && sampling.min_p < 1.0F)) {
    return Refuse("min_p", Shortest(sampling.min_p), "at least 0 and less than 1");
  }
  return absl::OkStatus();
}

absl::Status CheckBiases(const Request& request) {
  RETURN_IF_ERROR(CheckCount("logit_bias", "entries", request.logit_bias.size(), kMaxLogitBiases));
  for (const auto& [id, bias] : request.logit_bias) {
    RETURN_IF_ERROR(CheckBetween(absl::StrCat("logit_bias[", id, "]"), bias, -1000.0F, 1000.0F));
  }
  return absl::OkStatus();
}

absl::Status CheckPrefix(const Request& request) {
  const auto* ids = std::get_if<std::vector<uint32_t>>(&request.prompt);
  if (ids == nullptr && request.generated_prefix != 0) {
    return Refuse("generated_prefix", request.generated_prefix,
                  "0 with a text prompt; give the prompt as tokens");
  }
  if (ids != nullptr && request.generated_prefix > ids->size()) {
    return Refuse("generated_prefix", request.generated_prefix,
                  absl::StrCat("at most the number of prompt tokens, ", ids->size()));
  }
  return absl::OkStatus();
}

absl::Status CheckLength(const Request& request) {
  if (!request.max_tokens.has_value()) return absl::OkStatus();
  if (request.max_tokens == 0U && !request.prompt_logprobs) {
    return Refuse("max_tokens", 0, "at least 1 without prompt_logprobs");
  }
  if (request.max_tokens == 0U && request.samples > 1) {
    return Refuse("max_tokens", 0, "at least 1 with several samples");
  }
  const uint64_t most = uint64_t{*request.max_tokens} + request.generated_prefix;
  if (request.min_tokens > most) {
    return Refuse("min_tokens", request.min_tokens,
                  absl::StrCat("at most max_tokens + generated_prefix, ", most));
  }
  return absl::OkStatus();
}

absl::Status CheckStops(const Request& request) {
  RETURN_IF_ERROR(
      CheckCount("stop_strings", "entries", request.stop_strings.size(), kMaxStopStrings));
  for (size_t i = 0; i < request.stop_strings.size(); ++i) {
    const size_t bytes = request.stop_strings[i].size();
    if (bytes > 0 && bytes <= kMaxStopStringBytes) continue;
    return ToStatus({absl::StrCat("stop_strings[", i, "]"), absl::StrCat("has ", bytes, " bytes"),
                     absl::StrCat("it must have from 1 to ", kMaxStopStringBytes)});
  }
  return CheckCount("stop_token_ids", "entries", request.stop_token_ids.size(), kMaxStopTokenIds);
}

}  // namespace

absl::Status ValidateRequest(const Request& request) {
  RETURN_IF_ERROR(CheckCount("id", "bytes", request.id.size(), kMaxRequestIdBytes));
  RETURN_IF_ERROR(CheckCount("tenant", "bytes", request.tenant.size(), kMaxTenantBytes));
  if (static_cast<size_t>(request.priority) >= kPriorities) {
    return Refuse("priority", static_cast<uint64_t>(request.priority),
                  absl::StrCat("less than ", kPriorities));
  }
  RETURN_IF_ERROR(CheckPrefix(request));
  RETURN_IF_ERROR(CheckSampling(request.sampling));
  RETURN_IF_ERROR(CheckBiases(request));
  if (request.samples == 0 || request.samples > kMaxSamples) {
    return Refuse("samples", request.samples, absl::StrCat("from 1 to ", kMaxSamples));
  }
  RETURN_IF_ERROR(CheckLength(request));
  RETURN_IF_ERROR(CheckStops(request));
  if (request.top_logprobs > kMaxTopLogprobs) {
    return Refuse("top_logprobs", request.top_logprobs, absl::StrCat("at most ", kMaxTopLogprobs));
  }
  if (request.router_threshold.has_value()) {
    RETURN_IF_ERROR(CheckBetween("router_threshold", *request.router_threshold, 0.0F, 1.0F));
  }
  return absl::OkStatus();
}

}  // namespace recurve
