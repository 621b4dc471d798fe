// SPDX-License-Identifier: Apache-2.0
#include "engine/prepare_samples.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/math.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"
#include "engine/make_budget.h"

namespace recurve {
namespace {

// ln(p / (1 - p)): a row passes iff its deciding logit is at least this.
float ThresholdLogit(float probability) {
  if (probability <= 0.0F) return -std::numeric_limits<float>::infinity();
  if (probability >= 1.0F) return std::numeric_limits<float>::infinity();
  return Ln(probability) - Ln(1.0F - probability);
}

// Layers repeated in place are one recursion of the engine, which nothing can leave halfway, and
// which GetModelInfo tells as the only one.
absl::StatusOr<std::vector<DepthCap>> CapsOf(const Request& request, const ModelConfig& config) {
  std::vector<DepthCap> caps;
  if (!request.max_recursions) return caps;
  if (!config.repeats_in_place()) {
    caps.push_back({0, *request.max_recursions});
  } else if (*request.max_recursions != config.recursions()) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_recursions is ", *request.max_recursions, "; expected ",
                     config.recursions(), ", since this model repeats its layers in place"));
  }
  return caps;
}

}  // namespace

absl::StatusOr<ScheduledSample> PrepareSample(const Request& request, const ModelConfig& config,
                                              const EvictionOptions& eviction,
                                              const TextEncoder& encoder) {
  ScheduledSample scheduled;
  static_cast<RequestTerms&>(scheduled) = request;
  ASSIGN_OR_RETURN(scheduled.budget, MakeBudget(eviction, request, config));
  for (const auto& [token, value] : request.logit_bias) scheduled.biases.push_back({token, value});
  if (!request.stop_strings.empty() && !encoder.has_tokenizer()) {
    return absl::InvalidArgumentError(
        "stop_strings need a tokenizer, and this model directory has no tokenizer.json");
  }
  if (request.router_threshold && config.router.type != RouterType::kExpertChoice) {
    return absl::InvalidArgumentError(
        absl::StrCat("router_threshold is ", Shortest(*request.router_threshold),
                     "; only models with an expert-choice router have a threshold"));
  }

  scheduled.threshold_logit =
      ThresholdLogit(request.router_threshold.value_or(config.router.threshold));
  ASSIGN_OR_RETURN(scheduled.caps, CapsOf(request, config));
  if (request.logprobs || request.top_logprobs > 0 || request.prompt_logprobs ||
      request.cumulative_logprob) {
    scheduled.logprobs = request.top_logprobs;
  }
  scheduled.store_prompt = request.samples > 1;
  // Last, since it may take longer than all the rest.
  if (const auto* text = std::get_if<std::string>(&request.prompt)) {
    ASSIGN_OR_RETURN(scheduled.prompt, encoder.EncodePrompt(*text, request.add_special_tokens));
  } else {
    scheduled.prompt = std::get<std::vector<uint32_t>>(request.prompt);
  }
  return scheduled;
}

absl::StatusOr<std::vector<ScheduledSample>> PrepareSamples(const Request& request,
                                                            const ModelConfig& config,
                                                            const EvictionOptions& eviction,
                                                            const TextEncoder& encoder) {
  std::vector<ScheduledSample> samples;
  ASSIGN_OR_RETURN(ScheduledSample first, PrepareSample(request, config, eviction, encoder));
  samples.push_back(std::move(first));
  if (request.samples == 1) return samples;
  Request other = request;
  other.prompt = samples.front().prompt;  // tokenized once
  other.prompt_logprobs = false;
  for (uint32_t sample = 1; sample < request.samples; ++sample) {
    other.sampling.set_seed(SampleSeed(request.sampling.seed(), sample));
    ASSIGN_OR_RETURN(ScheduledSample next, PrepareSample(other, config, eviction, encoder));
    samples.push_back(std::move(next));
  }
  return samples;
}

}  // namespace recurve
