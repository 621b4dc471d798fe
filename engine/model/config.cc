// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "engine/model/json_fields.h"
#include "engine/model/mor_config.h"
#include "engine/model/rope_config.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

constexpr char kConfigFile[] = "config.json: ";
constexpr char kGenerationFile[] = "generation_config.json: ";

// Generous bounds; products of two of them stay far inside 64 bits.
constexpr uint32_t kMaxVocab = 1 << 22;
constexpr uint32_t kMaxWidth = 1 << 18;  // hidden, intermediate, heads * head_dim
constexpr uint32_t kMaxLayers = 1024;
constexpr uint32_t kMaxHeads = 1024;
constexpr uint32_t kMaxHeadDim = 1024;
constexpr size_t kMaxEosIds = 64;
constexpr size_t kMaxNamedFields = 20;  // in the warning

// Fields that change what a decoder computes, as found in configurations of this family, with the
// one value (as JSON) at which they change nothing. Null and absence are neutral too.
struct NeutralField {
  const char* name;
  const char* value;
};
constexpr NeutralField kNeutralFields[] = {
    {"hidden_act", "\"silu\""},
    {"attention_bias", "false"},
    {"mlp_bias", "false"},
    {"is_encoder_decoder", "false"},
    {"add_cross_attention", "false"},
    {"partial_rotary_factor", "1"},
    {"rope_interleaved", "false"},
    {"quantization_config", "null"},
    {"quantization", "null"},
    {"no_rope_layers", "null"},
    {"no_rope_layer_interval", "null"},
    {"use_qk_norm", "false"},
    {"qk_norm", "false"},
    {"clip_qkv", "null"},
    {"attn_logit_softcapping", "null"},
    {"final_logit_softcapping", "null"},
    {"embedding_multiplier", "1"},
    {"residual_multiplier", "1"},
    {"attention_multiplier", "null"},
    {"logits_scaling", "1"},
    {"num_local_experts", "null"},
    {"num_experts", "null"},
};

// Fields without a meaning for inference, too common to be worth a warning.
constexpr const char* kSilentFields[] = {
    "_name_or_path",     "architectures",        "attention_dropout",
    "auto_map",          "bos_token_id",         "dtype",
    "initializer_range", "is_llama_config",      "output_attentions",
    "unsloth_version",   "tokenizer_class",      "transformers.js_config",
    "pad_token_id",      "output_hidden_states", "return_dict",
    "torch_dtype",       "transformers_version", "use_cache",
};

absl::Status CheckNeutralFields(JsonFields& fields) {
  for (const NeutralField& field : kNeutralFields) {
    const Json* value = fields.Find(field.name);
    if (value == nullptr) continue;
    Json neutral = Json::parse(field.value, nullptr, false);
    if (*value == neutral) continue;
    return fields.Unexpected(field.name, absl::StrCat(field.value, ": nothing else is supported"));
  }
  const Json* layer_types = fields.Find("layer_types");
  if (layer_types == nullptr) return absl::OkStatus();
  const bool all_full =
      layer_types->is_array() && std::all_of(layer_types->begin(), layer_types->end(),
                                             [](const Json& t) { return t == "full_attention"; });
  return all_full ? absl::OkStatus()
                  : fields.Unexpected("layer_types", "\"full_attention\" for every layer");
}

// What a class of transformers takes an absent field for.
struct ClassDefaults {
  uint32_t kv_heads;   // 0: the number of heads
  uint32_t positions;  // of the context
  uint32_t window;     // keys that a token attends to; 0: all
};
constexpr ClassDefaults kLlamaDefaults = {0, 2048, 0};
constexpr ClassDefaults kMistralDefaults = {8, 131072, 4096};

// model_type. A Mistral model is a Llama model whose tokens may attend to a window alone.
absl::Status ReadModelType(JsonFields& fields, ClassDefaults* defaults) {
  const Json* type = fields.Find("model_type");
  *defaults = type != nullptr && *type == "mistral" ? kMistralDefaults : kLlamaDefaults;
  if (type == nullptr || *type == "llama" || *type == "mistral") return absl::OkStatus();
  return fields.Unexpected("model_type", "\"llama\" or \"mistral\": nothing else is supported");
}

// A window that holds the whole context hides nothing, and neither does one that is not used.
absl::Status CheckWindow(JsonFields& fields, const Json& object, const ClassDefaults& defaults,
                         const ModelConfig& config) {
  const Json* used = fields.Find("use_sliding_window");
  if (used != nullptr && !used->is_boolean()) {
    return fields.Unexpected("use_sliding_window", "true or false");
  }
  if (used != nullptr && *used == false) return absl::OkStatus();
  const Json* window = fields.Find("sliding_window");
  if (window == nullptr) {
    const bool hides = defaults.window != 0 && defaults.window < config.max_positions;
    if (object.contains("sliding_window") || !hides) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        kConfigFile, "sliding_window is absent, which is ", defaults.window,
        " with model_type \"mistral\"; expected null or at least max_position_embeddings, ",
        config.max_positions, ": lower that to serve a context without a window"));
  }
  if (window->is_number_unsigned() && window->get<uint64_t>() >= config.max_positions) {
    return absl::OkStatus();
  }
  return fields.Unexpected(
      "sliding_window",
      absl::StrCat("null or at least max_position_embeddings, ", config.max_positions,
                   ": lower that to serve a context without a window"));
}

// The trainer of Mixture-of-Recursions models writes kv_sharing; `mor` is where its meaning is
// read.
absl::Status CheckKvSharing(JsonFields& fields) {
  const Json* sharing = fields.Find("kv_sharing");
  if (sharing == nullptr || fields.Find("mor") != nullptr) return absl::OkStatus();
  if (sharing->is_object() && sharing->value("enable", Json(true)) == false) {
    return absl::OkStatus();
  }
  return fields.Unexpected("kv_sharing", "an object mor that says so instead (docs/model.md)");
}

absl::Status ReadSizes(JsonFields& fields, const Json& object, const ClassDefaults& defaults,
                       ModelConfig* config) {
  RETURN_IF_ERROR(fields.RequireInteger("vocab_size", 1, kMaxVocab, &config->vocab_size));
  RETURN_IF_ERROR(fields.RequireInteger("hidden_size", 1, kMaxWidth, &config->hidden_size));
  RETURN_IF_ERROR(
      fields.RequireInteger("intermediate_size", 1, kMaxWidth, &config->intermediate_size));
  RETURN_IF_ERROR(fields.RequireInteger("num_hidden_layers", 1, kMaxLayers, &config->num_layers));
  RETURN_IF_ERROR(fields.RequireInteger("num_attention_heads", 1, kMaxHeads, &config->num_heads));
  const bool has_kv_default = defaults.kv_heads != 0 && !object.contains("num_key_value_heads");
  config->num_kv_heads = has_kv_default ? defaults.kv_heads : config->num_heads;
  RETURN_IF_ERROR(fields.ReadInteger("num_key_value_heads", 1, kMaxHeads, &config->num_kv_heads));
  if (config->num_heads % config->num_kv_heads != 0) {
    return fields.Unexpected("num_key_value_heads",
                             absl::StrCat("a divisor of num_attention_heads, ", config->num_heads));
  }
  if (fields.Find("head_dim") == nullptr && config->hidden_size % config->num_heads != 0) {
    return fields.Unexpected("hidden_size",
                             absl::StrCat("a multiple of num_attention_heads, ", config->num_heads,
                                          ", since head_dim is absent"));
  }
  config->head_dim = config->hidden_size / config->num_heads;
  RETURN_IF_ERROR(fields.ReadInteger("head_dim", 1, kMaxHeadDim, &config->head_dim));
  if (config->head_dim == 0 || config->head_dim % 2 != 0 || config->head_dim > kMaxHeadDim ||
      config->head_dim * config->num_heads > kMaxWidth) {
    return absl::InvalidArgumentError(absl::StrCat(
        kConfigFile, "head_dim is ", config->head_dim,
        fields.Find("head_dim") == nullptr ? " (hidden_size / num_attention_heads)" : "",
        "; expected an even number up to ", kMaxHeadDim, ", and at most ", kMaxWidth, " times ",
        config->num_heads, " heads"));
  }
  config->max_positions = defaults.positions;
  return fields.ReadInteger("max_position_embeddings", 1, kMaxPositions, &config->max_positions);
}

// The ids of eos_token_id, an id or a list of ids. Nothing is changed if it is absent.
absl::Status ReadEosIds(JsonFields& fields, uint32_t vocab_size, std::vector<uint32_t>* ids) {
  const Json* value = fields.Find("eos_token_id");
  if (value == nullptr) return absl::OkStatus();
  const Json list = value->is_array() ? *value : Json::array({*value});
  ids->clear();
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= vocab_size || ids->size() == kMaxEosIds) {
      return fields.Unexpected("eos_token_id",
                               absl::StrCat("an id below vocab_size, ", vocab_size,
                                            ", or a list of at most ", kMaxEosIds, " ids"));
    }
    if (std::find(ids->begin(), ids->end(), id.get<uint32_t>()) == ids->end()) {
      ids->push_back(id.get<uint32_t>());
    }
  }
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(std::string_view text, ModelConfig* config) {
  if (text.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Json object, ParseJsonObject(text, "generation_config.json"));
  JsonFields fields(object, kGenerationFile, "", /*null_is_absent=*/true);
  return ReadEosIds(fields, config->vocab_size, &config->eos_token_ids);
}

void WarnOfIgnored(JsonFields& fields, std::vector<std::string>* warnings) {
  std::vector<std::string> ignored;
  // How training split its sums, and a value that is written beside use_sliding_window false.
  const Json* split = fields.Find("pretraining_tp");
  if (split != nullptr && *split != 1) ignored.emplace_back("pretraining_tp");
  for (const std::string& name : fields.Unread()) {
    if (std::find(std::begin(kSilentFields), std::end(kSilentFields), name) ==
        std::end(kSilentFields)) {
      ignored.push_back(absl::CEscape(name));
    }
  }
  if (ignored.empty()) return;
  std::sort(ignored.begin(), ignored.end());
  const size_t unnamed = ignored.size() - std::min(ignored.size(), kMaxNamedFields);
  ignored.resize(ignored.size() - unnamed);
  warnings->push_back(absl::StrCat(kConfigFile, "ignored fields: ", absl::StrJoin(ignored, ", "),
                                   unnamed == 0 ? "" : absl::StrCat(" and ", unnamed, " more")));
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_text,
                                             std::string_view generation_config,
                                             std::vector<std::string>* warnings) {
  ASSIGN_OR_RETURN(const Json object, ParseJsonObject(config_text, "config.json"));
  JsonFields fields(object, kConfigFile, "", /*null_is_absent=*/true);
  ModelConfig config;
  ClassDefaults defaults = kLlamaDefaults;
  RETURN_IF_ERROR(ReadModelType(fields, &defaults));
  RETURN_IF_ERROR(CheckNeutralFields(fields));
  RETURN_IF_ERROR(CheckKvSharing(fields));
  RETURN_IF_ERROR(ReadSizes(fields, object, defaults, &config));
  RETURN_IF_ERROR(CheckWindow(fields, object, defaults, config));
  config.rms_norm_eps = 1e-6F;
  RETURN_IF_ERROR(fields.ReadPositive("rms_norm_eps", &config.rms_norm_eps));
  RETURN_IF_ERROR(ReadRope(fields, &config));
  RETURN_IF_ERROR(fields.ReadBool("tie_word_embeddings", &config.tie_word_embeddings));
  RETURN_IF_ERROR(ReadEosIds(fields, config.vocab_size, &config.eos_token_ids));
  if (const Json* mor = fields.Find("mor"); mor != nullptr) {
    RETURN_IF_ERROR(ReadMorConfig(*mor, &config));
  }
  RETURN_IF_ERROR(ReadGenerationConfig(generation_config, &config));
  WarnOfIgnored(fields, warnings);
  return config;
}

}  // namespace recurve
