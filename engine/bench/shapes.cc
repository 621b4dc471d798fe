// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/shapes.h"

#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

struct NamedShape {
  const char* name;
  uint32_t layers, hidden, heads, kv_heads, intermediate;
};
constexpr NamedShape kShapes[] = {
    {"135m", 30, 576, 9, 3, 1536},
    {"360m", 32, 960, 15, 5, 2560},
    {"730m", 26, 1536, 24, 8, 4096},
    {"1.7b", 24, 2048, 32, 32, 8192},
};
constexpr uint32_t kHeadDim = 64;
constexpr uint32_t kVocab = 49152;
constexpr uint32_t kContext = 2048;
constexpr uint32_t kMaxLayers = 1024;  // as in a config.json

// Multiply-adds of a layer's products.
double LayerProducts(const ModelConfig& c) {
  const double d = c.hidden_size;
  const double q = static_cast<double>(c.num_heads) * c.head_dim;
  const double kv = static_cast<double>(c.num_kv_heads) * c.head_dim;
  return d * (q + 2 * kv) + q * d + 3 * d * c.intermediate_size;
}

double RouterProducts(const ModelConfig& c) {
  if (c.router.type == RouterType::kNone) return 0;
  const double d = c.hidden_size;
  const double outputs = c.router.type == RouterType::kTokenChoice ? c.num_recursions : 1;
  return c.router.network == RouterNetwork::kLinear ? d * outputs : 2 * d * d + 2 * d * outputs;
}

// What the products of one token take, in multiply-adds, each of which reads a weight, and
// `per_entry` for each entry in each layer.
double PerToken(const ModelConfig& config, const std::vector<double>& shares, double context,
                double per_entry) {
  const double layer = LayerProducts(config);
  const double ends = config.entry_layers() + config.exit_layers();
  double sum = ends * (layer + per_entry * context) +
               static_cast<double>(config.hidden_size) * config.vocab_size;
  for (const double share : shares) {
    const bool own_entries = config.kv_mode == KvMode::kRecursionWise;
    const double entries = own_entries ? share * context : context;
    sum += share *
           (config.layers_per_recursion() * (layer + per_entry * entries) + RouterProducts(config));
  }
  return sum;
}

// Bytes of a key or a value of one entry and KV head.
double VectorBytes(const ModelConfig& config, Precision kv_precision) {
  const size_t scale = kv_precision == Precision::kInt8 ? sizeof(float) : 0;
  return static_cast<double>(config.head_dim * ElementSize(kv_precision) + scale);
}

}  // namespace

absl::StatusOr<ModelConfig> ShapeConfig(const std::string& name, uint32_t recursions,
                                        uint32_t layers) {
  const NamedShape* shape = nullptr;
  for (const NamedShape& known : kShapes) {
    if (name == known.name) shape = &known;
  }
  if (shape == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape is '", name, "'; expected 135m, 360m, 730m or 1.7b"));
  }
  if (recursions < 1 || recursions > kMaxRecursions) {
    return absl::InvalidArgumentError(
        absl::StrCat("--recursions is ", recursions, "; expected 1 to ", kMaxRecursions));
  }
  if (layers > kMaxLayers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--layers is ", layers, "; expected at most ", kMaxLayers));
  }
  if (layers == 0) {
    layers = shape->layers;
    while ((layers - 2) % recursions != 0) ++layers;
  }
  if (layers < 3 || (layers - 2) % recursions != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--layers is ", layers,
                                                   "; expected 2 more than a multiple of ",
                                                   recursions, " recursions"));
  }
  ModelConfig config;
  config.vocab_size = kVocab;
  config.hidden_size = shape->hidden;
  config.intermediate_size = shape->intermediate;
  config.num_layers = layers;
  config.num_heads = shape->heads;
  config.num_kv_heads = shape->kv_heads;
  config.head_dim = kHeadDim;
  config.max_positions = kContext;
  config.tie_word_embeddings = true;
  if (recursions > 1) {
    config.sharing = Sharing::kMiddleCycle;
    config.num_recursions = recursions;
    config.router.type = RouterType::kExpertChoice;
    config.router.alpha = 0.1F;
  }
  return config;
}

double FlopsPerToken(const ModelConfig& config, const std::vector<double>& shares, double context) {
  const double scores_and_values = 2.0 * config.num_heads * config.head_dim;
  return 2 * PerToken(config, shares, context, scores_and_values);
}

double BytesPerToken(const ModelConfig& config, const std::vector<double>& shares, double context,
                     double number_bytes, Precision kv_precision) {
  const double keys_and_values =
      2.0 * config.num_kv_heads * VectorBytes(config, kv_precision) / number_bytes;
  return number_bytes * PerToken(config, shares, context, keys_and_values);
}

ModelConfig VanillaTwin(const ModelConfig& config) {
  ModelConfig twin = config;
  twin.sharing = Sharing::kNone;
  twin.num_recursions = 1;
  twin.kv_mode = KvMode::kRecursionWise;
  twin.per_recursion_attention = false;
  twin.router = RouterConfig();
  return twin;
}

}  // namespace recurve
