// SPDX-License-Identifier: Apache-2.0
// What a model is, as far as config.json says it: the Llama decoder's sizes, and how its layers
// recur.
#ifndef RECURVE_ENGINE_MODEL_CONFIG_H_
#define RECURVE_ENGINE_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/token_id.h"
#include "engine/model/router_config.h"

namespace recurve {

// Most recursions: the engine numbers 16 cache groups, two of them for the ends. Layers repeated in
// place are not recursions.
inline constexpr uint32_t kMaxRecursions = 14;

// Longest context.
inline constexpr uint32_t kMaxPositions = 1 << 24;

// Which weights an effective layer uses (docs/model.md has the table).
enum class Sharing { kNone, kCycle, kMiddleCycle, kSequence, kMiddleSequence };

// Which keys a recursion r > 1 attends to.
enum class KvMode {
  kRecursionWise,  // those that recursion r itself appended
  kShared,         // recursion 1's
  kSharedUpdate,   // recursion r's where the token was active in r, else recursion 1's
};

// How rotary frequencies differ from theta^(-2i / head_dim). See rope.h.
struct RopeScaling {
  enum class Type { kNone, kLinear, kLlama3 };

  Type type = Type::kNone;  // kNone: nothing below has a meaning
  float factor = 1.0F;      // at least 1
  // kLlama3: bounds of the transition, in waves over original_positions, the lower one first.
  float low_frequency_factor = 0.0F;
  float high_frequency_factor = 0.0F;
  uint32_t original_positions = 0;

  bool operator==(const RopeScaling&) const = default;
};

struct ModelConfig {
  uint32_t vocab_size = 0;         // V
  uint32_t hidden_size = 0;        // d
  uint32_t intermediate_size = 0;  // ff
  uint32_t num_layers = 0;         // L, effective
  uint32_t num_heads = 0;
  uint32_t num_kv_heads = 0;
  uint32_t head_dim = 0;       // even
  uint32_t max_positions = 0;  // context
  float rms_norm_eps = 1e-5F;
  float rope_theta = 10000.0F;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  std::vector<TokenId> eos_token_ids;  // generation_config.json's, else config.json's

  Sharing sharing = Sharing::kNone;
  uint32_t num_recursions = 1;  // as configured; see recursions()
  KvMode kv_mode = KvMode::kRecursionWise;
  bool per_recursion_attention = false;
  RouterConfig router;

  bool has_ends() const {
    return sharing == Sharing::kMiddleCycle || sharing == Sharing::kMiddleSequence;
  }
  bool repeats_in_place() const {
    return sharing == Sharing::kSequence || sharing == Sharing::kMiddleSequence;
  }
  // Recursions that the engine runs: models that repeat each layer in place do not split into
  // passes of one block and run as one recursion; so do plain Llama models.
  uint32_t recursions() const { return repeats_in_place() ? 1 : num_recursions; }
  // Distinct layers of the shared block: b.
  uint32_t block_layers() const { return (num_layers - (has_ends() ? 2 : 0)) / num_recursions; }
  // Layers that one recursion runs.
  uint32_t layers_per_recursion() const {
    return repeats_in_place() ? block_layers() * num_recursions : block_layers();
  }
  // Index in 0..block_layers()-1 of the i-th layer of a recursion.
  uint32_t block_layer(uint32_t i) const { return repeats_in_place() ? i / num_recursions : i; }
  uint32_t entry_layers() const { return has_ends() ? 1 : 0; }
  uint32_t exit_layers() const { return has_ends() ? 1 : 0; }
};

// Parses and validates config.json. `generation_config` is the text of generation_config.json,
// empty if there is none. `warnings` receives at most one line about ignored fields.
// InvalidArgument names the field, what was found and what was expected.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config,
                                             std::string_view generation_config,
                                             std::vector<std::string>* warnings);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_CONFIG_H_
