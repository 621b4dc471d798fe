// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"
#include "engine/model/json_fields.h"
#include "engine/model/mor_config.h"

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
constexpr uint32_t kMaxPositions = 1 << 24;
constexpr size_t kMaxEosIds = 64;
constexpr size_t kMaxNamedFields = 20;  // in the warning

// Fields that change what a decoder computes, as found in configurations of this family, with the
// one value (as JSON) at which they change nothing. Null and absence are neutral too.
struct NeutralField {
  const char* name;
  const char* value;
};
constexpr NeutralField kNeutralFields[] = {
    {"model_type", "\"llama\""},
    {"hidden_act", "\"silu\""},
    {"attention_bias", "false"},
    {"mlp_bias", "false"},
    {"pretraining_tp", "1"},
    {"is_encoder_decoder", "false"},
    {"add_cross_attention", "false"},
    {"partial_rotary_factor", "1"},
    {"rope_interleaved", "false"},
    {"rope_scaling", "{\"type\":\"default\"}"},
    {"quantization_config", "null"},
    {"sliding_window", "null"},
    {"use_sliding_window", "false"},
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
    "pad_token_id",      "output_hidden_states", "return_dict",
    "torch_dtype",       "transformers_version", "use_cache",
};

absl::Status CheckNeutralFields(JsonFields& fields) {
  for (const NeutralField& field : kNeutralFields) {
    const Json* value = fields.Find(field.name);
    if (value == nullptr) continue;
    Json neutral = Json::parse(field.value, nullptr, false);
    if (*value == neutral) continue;
    if (absl::string_view(field.name) == "rope_scaling" && *value == Json{{"rope_type", "default"}})
      continue;
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

// rope_theta, and rope_parameters in which newer versions of transformers write it.
absl::Status ReadRope(JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.ReadPositive("rope_theta", &config->rope_theta));
  const Json* parameters = fields.Find("rope_parameters");
  if (parameters == nullptr) return absl::OkStatus();
  if (!parameters->is_object()) return fields.Unexpected("rope_parameters", "an object");
  JsonFields rope(*parameters, kConfigFile, "rope_parameters.", /*null_is_absent=*/true);
  const Json* type = rope.Find("rope_type");
  if (type != nullptr && *type != "default") {
    return rope.Unexpected("rope_type", "\"default\": nothing else is supported");
  }
  float theta = config->rope_theta;
  RETURN_IF_ERROR(rope.ReadPositive("rope_theta", &theta));
  if (fields.Find("rope_theta") != nullptr && theta != config->rope_theta) {
    return rope.Unexpected(
        "rope_theta", absl::StrCat("the rope_theta beside it, ", Shortest(config->rope_theta)));
  }
  config->rope_theta = theta;
  const Json* partial = rope.Find("partial_rotary_factor");
  if (partial != nullptr && *partial != 1) {
    return rope.Unexpected("partial_rotary_factor", "1: nothing else is supported");
  }
  const std::vector<std::string> unread = rope.Unread();
  return unread.empty() ? absl::OkStatus()
                        : rope.Unexpected(unread.front(), "no field but rope_type and rope_theta");
}

absl::Status ReadSizes(JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.RequireInteger("vocab_size", 1, kMaxVocab, &config->vocab_size));
  RETURN_IF_ERROR(fields.RequireInteger("hidden_size", 1, kMaxWidth, &config->hidden_size));
  RETURN_IF_ERROR(
      fields.RequireInteger("intermediate_size", 1, kMaxWidth, &config->intermediate_size));
  RETURN_IF_ERROR(fields.RequireInteger("num_hidden_layers", 1, kMaxLayers, &config->num_layers));
  RETURN_IF_ERROR(fields.RequireInteger("num_attention_heads", 1, kMaxHeads, &config->num_heads));
  config->num_kv_heads = config->num_heads;
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
  config->max_positions = 2048;
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

void WarnOfIgnored(const JsonFields& fields, std::vector<std::string>* warnings) {
  std::vector<std::string> ignored;
  for (const std::string& name : fields.Unread()) {
    if (std::find(std::begin(kSilentFields), std::end(kSilentFields), name) ==
        std::end(kSilentFields)) {
      ignored.push_back(absl::CEscape(name));
    }
  }
  if (ignored.empty()) return;
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
  RETURN_IF_ERROR(CheckNeutralFields(fields));
  RETURN_IF_ERROR(ReadSizes(fields, &config));
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
