// SPDX-License-Identifier: Apache-2.0
// ParseModelConfig, and the tensors of the model that it describes. Input: config.json, and behind
// a line
// "---" generation_config.json.
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "engine/model/config.h"
#include "engine/model/tensor_layout.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

constexpr uint32_t kMostLayers = 64;  // laid out for each input; more only take longer

void CheckSizes(const ModelConfig& config) {
  RECURVE_CHECK(config.vocab_size > 0 && config.hidden_size > 0 && config.intermediate_size > 0);
  RECURVE_CHECK(config.num_heads > 0 && config.num_kv_heads > 0);
  RECURVE_CHECK(config.num_heads % config.num_kv_heads == 0);
  RECURVE_CHECK(config.head_dim > 0 && config.head_dim % 2 == 0);
  RECURVE_CHECK(config.max_positions > 0);
  RECURVE_CHECK(std::isnormal(config.rms_norm_eps) && config.rms_norm_eps > 0);
  RECURVE_CHECK(std::isnormal(config.rope_theta) && config.rope_theta > 0);
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type != RopeScaling::Type::kNone) RECURVE_CHECK(scaling.factor >= 1);
  if (scaling.type == RopeScaling::Type::kLlama3) {
    RECURVE_CHECK(scaling.low_frequency_factor > 0 && scaling.original_positions > 0);
    RECURVE_CHECK(scaling.low_frequency_factor < scaling.high_frequency_factor);
  }
  for (const uint32_t id : config.eos_token_ids) RECURVE_CHECK(id < config.vocab_size);
}

void CheckRecursion(const ModelConfig& config) {
  RECURVE_CHECK(config.num_recursions > 0 && config.block_layers() > 0);
  RECURVE_CHECK(config.entry_layers() + config.recursions() * config.layers_per_recursion() +
                    config.exit_layers() ==
                config.num_layers);
  RECURVE_CHECK(config.block_layer(config.layers_per_recursion() - 1) < config.block_layers());
  if (config.sharing == Sharing::kNone) RECURVE_CHECK(config.num_recursions == 1);
  if (config.kv_mode != KvMode::kShared) RECURVE_CHECK(config.recursions() <= kMaxRecursions);
  const RouterConfig& router = config.router;
  if (router.type == RouterType::kNone) return;
  RECURVE_CHECK(!config.repeats_in_place());
  RECURVE_CHECK(std::isnormal(router.alpha) && router.alpha > 0);
  RECURVE_CHECK(std::isnormal(router.temperature) && router.temperature > 0);
  RECURVE_CHECK(router.threshold >= 0 && router.threshold <= 1);
  const bool is_token_choice = router.type == RouterType::kTokenChoice;
  RECURVE_CHECK(is_token_choice || router.function != RouterFunction::kSoftmax);
  RECURVE_CHECK(is_token_choice || !router.has_bias);
}

void CheckLayout(const ModelConfig& config) {
  if (config.num_layers > kMostLayers) return;
  Weights weights;
  std::set<std::string> names;
  std::set<const Tensor*> tensors;
  for (const TensorSlot& slot : LayOutTensors(config, &weights)) {
    RECURVE_CHECK(names.insert(slot.name).second);
    for (const std::string& name : slot.duplicates) RECURVE_CHECK(names.insert(name).second);
    RECURVE_CHECK(tensors.insert(slot.tensor).second);
    RECURVE_CHECK(slot.shape.size() == 1 || slot.shape.size() == 2);
    for (const uint64_t size : slot.shape) RECURVE_CHECK(size > 0);
  }
  RECURVE_CHECK(weights.block.size() == config.block_layers());
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [text, generation_text] = recurve::SplitParts(recurve::AsText(data, size));
  std::vector<std::string> warnings;
  const auto config = recurve::ParseModelConfig(text, generation_text, &warnings);
  RECURVE_CHECK(warnings.size() <= 1);
  if (!config.ok()) {
    recurve::CheckRefusal(config.status());
    return 0;
  }
  recurve::CheckSizes(*config);
  recurve::CheckRecursion(*config);
  recurve::CheckLayout(*config);
  return 0;
}
