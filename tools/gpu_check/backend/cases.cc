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

// Of a few hundred entries, which all warps of attention share and which fill several of its
// chunks.
ModelConfig LongContext() {
  ModelConfig config = Vanilla();
  config.hidden_size = 24;
  config.intermediate_size = 24;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.max_positions = 640;
  return config;
}

// The same of so many outputs that among them are some which another rounding of a sum changes.
ModelConfig LongHeads() {
  ModelConfig config = LongContext();
  config.num_heads = 4;
  config.head_dim = 128;
  return config;
}

// A product of so many inputs that weights are asked for again and again, and more heads that share
// a KV head than a block of attention takes.
ModelConfig ManyInputs() {
  ModelConfig config = Vanilla();
  config.hidden_size = 16;
  config.intermediate_size = 2100;
  config.num_heads = 19;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  return config;
}

// A norm of more squares than its lanes take at once.
ModelConfig ManySquares() {
  ModelConfig config = Vanilla();
  config.hidden_size = 600;
  config.intermediate_size = 12;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
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

// A few prompts; those of chunks of `chunk` rows.
std::vector<DriverRequest> Prompts(const std::vector<uint32_t>& lengths, uint32_t chunk) {
  std::mt19937 random(11);  // NOLINT(bugprone-random-generator-seed): the same every time
  std::vector<DriverRequest> requests(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    DriverRequest& request = requests[i];
    for (uint32_t j = 0; j < lengths[i]; ++j) request.prompt.push_back(random() % 150);
    request.new_tokens = 8;  // of which the last ones run in steps that are cut for few rows
    request.chunk = chunk;
    request.sampling.generated = lengths[i];
    request.logprobs = 0;
    request.wants = kWantsRawLogits | kWantsPromptLogprobs;
  }
  return requests;
}

// What the others are too small for, each as small as it can be.
void AddLargeCases(std::vector<Case>& cases) {
  const auto add = [&cases](const char* name, const ModelConfig& config, uint32_t chunk,
                            const std::vector<uint32_t>& prompts) {
    Case& added = cases.emplace_back();
    added.name = name;
    added.model = std::make_shared<const Model>(RandomModel(config, DataType::kF32, 3));
    added.limits = SmallLimits(config, config.max_positions);
    added.limits.chunk = chunk;
    added.limits.prompt_rows = added.limits.ends = chunk + 1;
    added.limits.pages = PagesNeeded(config, added.limits);
    added.requests = Prompts(prompts, chunk);
  };
  add("long_context", LongContext(), 70, {630, 300, 140});
  add("many_inputs", ManyInputs(), 40, {45, 7});
  add("many_squares", ManySquares(), 8, {11, 2});
  add("long_heads", LongHeads(), 70, {400, 280});
  // Contexts of several chunks that attention's mass keeps short, in steps of few rows, which share
  // blocks of attention with each other and chunks with other blocks.
  add("long_mass", LongHeads(), 6, {600, 30});
  for (DriverRequest& request : cases.back().requests) {
    request.eviction = EvictionPolicy::kAttention;
    request.evict_every = 96;
    request.keep = 530;
  }
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
    added.limits = SmallLimits(config, config.max_positions);
    added.requests = MixedRequests(config.max_positions - 8);
  }
  AddLargeCases(cases);
  return cases;
}

}  // namespace recurve::gpu_check
