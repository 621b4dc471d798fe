// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_check/backend/cases.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>

namespace recurve::gpu_check {
namespace {

// Sizes that fill neither tiles nor warps.
ModelConfig Odd() {
  ModelConfig config;
  config.vocab_size = 150;
  config.hidden_size = 48;
  config.intermediate_size = 72;
  config.num_layers = 5;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 12;
  config.max_positions = 64;
  config.sharing = Sharing::kMiddleCycle;
  config.num_recursions = 3;
  return config;
}

ModelConfig Vanilla() {
  ModelConfig config = Odd();
  config.sharing = Sharing::kNone;
  config.num_recursions = 1;
  config.num_layers = 2;
  config.tie_word_embeddings = true;
  return config;
}

ModelConfig Sequence() {
  ModelConfig config = Odd();
  config.sharing = Sharing::kMiddleSequence;
  config.rope_scaling.type = RopeScaling::Type::kLinear;
  config.rope_scaling.factor = 2.0F;
  return config;
}

ModelConfig Expert() {
  ModelConfig config = Odd();
  config.router.type = RouterType::kExpertChoice;
  config.router.alpha = 0.6F;
  return config;
}

ModelConfig ExpertShared() {
  ModelConfig config = Expert();
  config.sharing = Sharing::kCycle;
  config.num_layers = 6;
  config.kv_mode = KvMode::kShared;
  config.per_recursion_attention = true;
  config.router.function = RouterFunction::kTanh;
  config.router.network = RouterNetwork::kMlp;
  config.router.sampling = RouterSampling::kAuxRouter;
  config.router.temperature = 0.7F;
  return config;
}

ModelConfig ExpertUpdate() {
  ModelConfig config = Expert();
  config.kv_mode = KvMode::kSharedUpdate;
  config.router.function = RouterFunction::kNone;
  config.num_kv_heads = 6;
  config.rope_scaling = {.type = RopeScaling::Type::kLlama3,
                         .factor = 8.0F,
                         .low_frequency_factor = 1.0F,
                         .high_frequency_factor = 4.0F,
                         .original_positions = 32};
  return config;
}

ModelConfig Token() {
  ModelConfig config = Odd();
  config.router.type = RouterType::kTokenChoice;
  config.router.function = RouterFunction::kSoftmax;
  config.router.has_bias = true;
  return config;
}

ModelConfig TokenUpdate() {
  ModelConfig config = Token();
  config.kv_mode = KvMode::kSharedUpdate;
  config.router = {
      .type = RouterType::kTokenChoice, .network = RouterNetwork::kMlp, .temperature = 1.5F};
  config.sharing = Sharing::kCycle;
  config.num_layers = 3;
  config.num_kv_heads = 1;
  return config;
}

// Few layers, heads as large as published models have them.
ModelConfig Heads(uint32_t head_dim, uint32_t heads, uint32_t kv_heads) {
  ModelConfig config = Expert();
  config.hidden_size = 128;
  config.intermediate_size = 192;
  config.num_recursions = 2;
  config.num_layers = 4;
  config.head_dim = head_dim;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  return config;
}

// Requests that use everything that a request can ask of a backend.
std::vector<DriverRequest> MixedRequests(uint32_t longest_prompt) {
  // The same requests every time, since digests are kept of them.
  std::mt19937 random(7);  // NOLINT(bugprone-random-generator-seed)
  const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  std::vector<DriverRequest> requests(7);
  for (uint32_t i = 0; i < requests.size(); ++i) {
    DriverRequest& request = requests[i];
    const uint32_t prompt = i == 6 ? longest_prompt : 1 + 3 * i;
    for (uint32_t j = 0; j < prompt; ++j) request.prompt.push_back(below(150));
    request.new_tokens = 5;
    if (i % 2 == 1) {
      request.sampling.temperature = 0.7F + 0.2F * static_cast<float>(i);
      request.sampling.set_seed((uint64_t{i} << 40) + i);
    }
    if (i % 3 == 1) request.sampling.top_k = 12;
    if (i % 3 == 2) request.sampling.top_p = 0.8F;
    if (i % 4 == 3) request.sampling.min_p = 0.05F;
    if (i % 2 == 0) request.sampling.repetition_penalty = 1.3F;
    if (i % 5 == 1) request.sampling.frequency_penalty = 0.4F;
    if (i % 5 == 2) request.sampling.presence_penalty = 0.8F;
    request.sampling.generated = prompt;
    request.wants = kWantsRawLogits;
    if (i % 3 == 0) request.logprobs = i % 6;
    if (i % 3 == 0) request.wants |= kWantsPromptLogprobs;
    if (i == 4) request.cap = 2;
    if (i == 5) request.threshold_logit = 0.3F;
    if (i == 2) request.stop_ids = {3, 7, 11, 13};
    if (i == 6) request.biases = {{5, 3.0F}, {9, -2.0F}, {5, 1.5F}};
  }
  return requests;
}

BackendLimits Limits(const ModelConfig& config) {
  BackendLimits limits = {
      {.slots = 4, .areas = 2, .chunk = 8, .ends = 8, .block_rows = 3, .prompt_rows = 9},
      /*pages=*/0,
      /*max_positions=*/config.max_positions,
      /*max_logprobs=*/5,
      /*max_biases=*/4,
      /*max_stop_ids=*/4};
  limits.pages = PagesNeeded(config, limits);
  return limits;
}

}  // namespace

std::vector<Case> Cases() {
  const std::pair<const char*, ModelConfig> configs[] = {
      {"vanilla", Vanilla()},
      {"sequence", Sequence()},
      {"expert", Expert()},
      {"expert_shared", ExpertShared()},
      {"expert_update", ExpertUpdate()},
      {"token", Token()},
      {"token_update", TokenUpdate()},
      {"heads_of_64", Heads(64, 3, 1)},
      {"heads_of_96", Heads(96, 2, 2)},
      {"heads_of_128", Heads(128, 4, 2)},
  };
  std::vector<Case> cases;
  for (const auto& [name, config] : configs) {
    Case& added = cases.emplace_back();
    added.name = name;
    added.model = std::make_shared<const Model>(RandomModel(config, DataType::kF32, 3));
    added.limits = Limits(config);
    added.requests = MixedRequests(config.max_positions - 8);
  }
  return cases;
}

}  // namespace recurve::gpu_check
