// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/small_models.h"

#include <utility>

namespace recurve {
namespace {

ModelConfig Vanilla() {
  ModelConfig config;
  config.vocab_size = 97;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.max_positions = 256;
  config.eos_token_ids = {96};
  return config;
}

ModelConfig Recurring(Sharing sharing, KvMode kv_mode) {
  ModelConfig config = Vanilla();
  config.sharing = sharing;
  config.num_recursions = 3;
  config.num_layers = sharing == Sharing::kCycle || sharing == Sharing::kSequence ? 3 : 5;
  config.kv_mode = kv_mode;
  return config;
}

ModelConfig Expert(Sharing sharing, KvMode kv_mode) {
  ModelConfig config = Recurring(sharing, kv_mode);
  config.router.type = RouterType::kExpertChoice;
  config.router.alpha = 0.5F;
  return config;
}

ModelConfig Token(KvMode kv_mode) {
  ModelConfig config = Recurring(Sharing::kMiddleCycle, kv_mode);
  config.router.type = RouterType::kTokenChoice;
  config.router.function = RouterFunction::kSoftmax;
  return config;
}

}  // namespace

std::vector<SmallModel> SmallModels() {
  const std::vector<std::pair<std::string, ModelConfig>> configs = {
      {"vanilla", Vanilla()},
      {"fixed_cycle", Recurring(Sharing::kCycle, KvMode::kRecursionWise)},
      {"middle_sequence", Recurring(Sharing::kMiddleSequence, KvMode::kRecursionWise)},
      {"expert", Expert(Sharing::kMiddleCycle, KvMode::kRecursionWise)},
      {"expert_cycle_shared", Expert(Sharing::kCycle, KvMode::kShared)},
      {"expert_shared_update", Expert(Sharing::kMiddleCycle, KvMode::kSharedUpdate)},
      {"token", Token(KvMode::kRecursionWise)},
      {"token_shared", Token(KvMode::kShared)},
  };
  std::vector<SmallModel> models;
  for (const auto& [name, config] : configs) {
    models.push_back({name, std::make_shared<const Model>(RandomModel(config, DataType::kF32, 7))});
  }
  return models;
}

}  // namespace recurve
