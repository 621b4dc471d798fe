// SPDX-License-Identifier: Apache-2.0
// ParseModelConfig: the fields of a LlamaConfig.
#include "engine/model/config.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

const char kLlama[] = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
  "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5,
  "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
  "rms_norm_eps": 1e-5, "rope_theta": 50000.0, "tie_word_embeddings": true, "eos_token_id": 7,
  "hidden_act": "silu", "attention_bias": false, "rope_scaling": null, "use_cache": true
})";

// The configuration above with the members of `changes` put in place; null removes one.
std::string Changed(const std::string& changes) {
  Json config = Json::parse(kLlama);
  config.merge_patch(Json::parse(changes));
  return config.dump();
}

absl::StatusOr<ModelConfig> Parse(const std::string& config, const std::string& generation = "") {
  std::vector<std::string> warnings;
  return ParseModelConfig(config, generation, &warnings);
}

TEST(ModelConfig, ReadsLlama) {
  std::vector<std::string> warnings;
  const auto config = ParseModelConfig(kLlama, "", &warnings);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 1000U);
  EXPECT_EQ(config->hidden_size, 64U);
  EXPECT_EQ(config->intermediate_size, 96U);
  EXPECT_EQ(config->num_layers, 5U);
  EXPECT_EQ(config->num_heads, 4U);
  EXPECT_EQ(config->num_kv_heads, 2U);
  EXPECT_EQ(config->head_dim, 16U);
  EXPECT_EQ(config->max_positions, 512U);
  EXPECT_EQ(config->rms_norm_eps, 1e-5F);
  EXPECT_EQ(config->rope_theta, 50000.0F);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(7U));
  EXPECT_EQ(config->sharing, Sharing::kNone);
  EXPECT_EQ(config->num_recursions, 1U);
  EXPECT_EQ(config->router.type, RouterType::kNone);
  EXPECT_EQ(config->block_layers(), 5U);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST(ModelConfig, HasTheDefaultsOfLlamaConfig) {
  const auto config = Parse(Changed(R"({"num_key_value_heads": null, "rms_norm_eps": null,
      "rope_theta": null, "tie_word_embeddings": null, "eos_token_id": null,
      "max_position_embeddings": null, "model_type": null})"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_kv_heads, 4U);
  EXPECT_EQ(config->rms_norm_eps, 1e-6F);
  EXPECT_EQ(config->rope_theta, 10000.0F);
  EXPECT_EQ(config->max_positions, 2048U);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_THAT(config->eos_token_ids, IsEmpty());
}

TEST(ModelConfig, EndOfSequenceIdsAreThoseOfGenerationConfig) {
  EXPECT_THAT(Parse(Changed(R"({"eos_token_id": [3, 5, 3]})"))->eos_token_ids, ElementsAre(3U, 5U));
  EXPECT_THAT(Parse(kLlama, R"({"eos_token_id": [9, 8], "temperature": 0.1})")->eos_token_ids,
              ElementsAre(9U, 8U));
  EXPECT_THAT(Parse(kLlama, R"({"eos_token_id": 6})")->eos_token_ids, ElementsAre(6U));
  EXPECT_THAT(Parse(kLlama, R"({"top_k": 3})")->eos_token_ids, ElementsAre(7U));
  EXPECT_THAT(Parse(kLlama, R"({"eos_token_id": null})")->eos_token_ids, ElementsAre(7U));
  EXPECT_THAT(std::string(Parse(kLlama, R"({"eos_token_id": 1000})").status().message()),
              AllOf(HasSubstr("generation_config.json: eos_token_id is 1000"), HasSubstr("1000")));
  EXPECT_THAT(std::string(Parse(kLlama, "nonsense").status().message()),
              HasSubstr("generation_config.json: not a JSON object"));
}

struct BadField {
  const char* changes;
  const char* message;
};

// InvalidArgument with the expected text for each.
void ExpectRefused(const std::vector<BadField>& fields) {
  for (const BadField& bad : fields) {
    const auto config = Parse(Changed(bad.changes));
    ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << bad.changes;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(bad.message)) << bad.changes;
  }
}

TEST(ModelConfig, RefusesSizesOutOfRange) {
  ExpectRefused({
      {R"({"vocab_size": null})", "vocab_size is absent; expected an integer from 1"},
      {R"({"vocab_size": 0})", "vocab_size is 0; expected an integer from 1"},
      {R"({"vocab_size": 4194305})", "vocab_size is 4194305"},
      {R"({"vocab_size": "1000"})", "vocab_size is \"1000\""},
      {R"({"vocab_size": 1000.5})", "vocab_size is 1000.5"},
      {R"({"hidden_size": -64})", "hidden_size is -64"},
      {R"({"hidden_size": 18446744073709551616})", "hidden_size"},
      {R"({"hidden_size": null})", "hidden_size is absent"},
      {R"({"intermediate_size": null})", "intermediate_size is absent"},
      {R"({"num_hidden_layers": 1025})", "num_hidden_layers is 1025; expected an integer from 1"},
      {R"({"num_attention_heads": 0})", "num_attention_heads is 0"},
      {R"({"num_attention_heads": 7, "num_key_value_heads": 7})",
       "hidden_size is 64; expected a multiple of num_attention_heads, 7"},
      {R"({"num_key_value_heads": 3})", "num_key_value_heads is 3; expected a divisor"},
      {R"({"num_key_value_heads": 0})", "num_key_value_heads is 0"},
      {R"({"head_dim": 15})", "head_dim is 15; expected an even number"},
      {R"({"head_dim": 2000})", "head_dim is 2000"},
      {R"({"num_attention_heads": 64, "num_key_value_heads": 64})", "head_dim is 1 (hidden_size"},
      {R"({"num_attention_heads": 1024, "num_key_value_heads": 1, "head_dim": 1024})",
       "head_dim is 1024; expected an even number up to 1024, and at most 262144 times 1024"},
      {R"({"max_position_embeddings": 0})", "max_position_embeddings is 0"},
      {R"({"max_position_embeddings": 16777217})", "max_position_embeddings"},
      {R"({"rms_norm_eps": 0})", "rms_norm_eps is 0; expected a number above 0"},
      {R"({"rms_norm_eps": 1e-50})", "rms_norm_eps is 1e-50"},
      {R"({"rope_theta": -1.0})", "rope_theta is -1.0"},
      {R"({"rope_theta": 1e300})", "rope_theta"},
      {R"({"tie_word_embeddings": 1})", "tie_word_embeddings is 1; expected true or false"},
      {R"({"eos_token_id": 1000})", "eos_token_id is 1000; expected an id below vocab_size, 1000"},
      {R"({"eos_token_id": -1})", "eos_token_id is -1"},
      {R"({"eos_token_id": [1, "x"]})", "eos_token_id"},
  });
}

TEST(ModelConfig, RefusesWhatWouldChangeTheComputation) {
  ExpectRefused({
      {R"({"model_type": "qwen2"})",
       "model_type is \"qwen2\"; expected \"llama\" or \"mistral\": nothing else is supported"},
      {R"({"model_type": 3})", "model_type is 3"},
      {R"({"hidden_act": "gelu"})", "hidden_act is \"gelu\"; expected \"silu\""},
      {R"({"attention_bias": true})", "attention_bias is true; expected false"},
      {R"({"mlp_bias": true})", "mlp_bias is true"},
      {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor is 0.5"},
      {R"({"rope_interleaved": true})", "rope_interleaved"},
      {R"({"quantization_config": {"bits": 4}})", "quantization_config is {\"bits\":4}"},
      {R"({"quantization": {"bits": 4}})", "quantization is {\"bits\":4}; expected null"},
      {R"({"sliding_window": 511})",
       "sliding_window is 511; expected null or at least max_position_embeddings, 512: lower that"},
      {R"({"sliding_window": "x"})", "sliding_window is \"x\""},
      {R"({"use_sliding_window": true, "sliding_window": 128})", "sliding_window is 128"},
      {R"({"kv_sharing": {"enable": true}})",
       "kv_sharing is {\"enable\":true}; expected an object mor that says so"},
      {R"({"layer_types": ["full_attention", "sliding_attention"]})", "layer_types"},
      {R"({"is_encoder_decoder": true})", "is_encoder_decoder"},
      {R"({"add_cross_attention": true})", "add_cross_attention is true; expected false"},
      {R"({"no_rope_layers": [1, 0]})", "no_rope_layers"},
      {R"({"no_rope_layer_interval": 4})", "no_rope_layer_interval is 4; expected null"},
      {R"({"use_qk_norm": true})", "use_qk_norm is true; expected false"},
      {R"({"qk_norm": true})", "qk_norm is true; expected false"},
      {R"({"clip_qkv": 8.0})", "clip_qkv is 8.0; expected null"},
      {R"({"attn_logit_softcapping": 50.0})", "attn_logit_softcapping is 50.0; expected null"},
      {R"({"final_logit_softcapping": 30.0})", "final_logit_softcapping"},
      {R"({"embedding_multiplier": 12.0})", "embedding_multiplier is 12.0; expected 1"},
      {R"({"residual_multiplier": 0.22})", "residual_multiplier is 0.22; expected 1"},
      {R"({"attention_multiplier": 0.015625})", "attention_multiplier is 0.015625; expected null"},
      {R"({"logits_scaling": 8.0})", "logits_scaling is 8.0; expected 1"},
      {R"({"num_local_experts": 8})", "num_local_experts is 8"},
      {R"({"num_experts": 64})", "num_experts is 64; expected null"},
  });
}

// Defaults of a class that its config.json may leave out.
TEST(ModelConfig, MistralIsLlamaWhereItsWindowHoldsTheContext) {
  const auto window = [](const char* changes) {
    return Parse(Changed(changes)).status().ToString();
  };
  EXPECT_EQ(window(R"({"model_type": "mistral", "sliding_window": 512})"), "OK");
  EXPECT_EQ(window(R"({"model_type": "mistral", "max_position_embeddings": 4096})"), "OK");
  EXPECT_THAT(window(R"({"model_type": "mistral", "max_position_embeddings": 4097})"),
              HasSubstr("sliding_window is absent, which is 4096 with model_type \"mistral\""));
  Json config = Json::parse(Changed(R"({"model_type": "mistral"})"));
  config["sliding_window"] = nullptr;
  config["max_position_embeddings"] = 32768;
  EXPECT_TRUE(Parse(config.dump()).ok());
  config.erase("num_key_value_heads");
  config.erase("max_position_embeddings");
  config["num_attention_heads"] = 16;
  const auto defaults = Parse(config.dump());
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->num_kv_heads, 8U);
  EXPECT_EQ(defaults->max_positions, 131072U);
}

TEST(ModelConfig, WarnsAtMostOfWhatChangesNothing) {
  std::vector<std::string> warnings;
  const auto config = ParseModelConfig(
      Changed(R"({"pretraining_tp": 2, "use_sliding_window": false, "sliding_window": 128,
                  "max_window_layers": 28, "kv_sharing": {"enable": false}})"),
      "", &warnings);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(warnings, ElementsAre("config.json: ignored fields: max_window_layers, "
                                    "pretraining_tp, sliding_window"));
  EXPECT_TRUE(Parse(Changed(R"({"sliding_window": 512})")).ok());
  EXPECT_TRUE(Parse(Changed(R"({"use_sliding_window": true})")).ok());
  EXPECT_TRUE(Parse(Changed(R"({"kv_sharing": {"enable": true}, "num_hidden_layers": 4,
                                "mor": {"sharing": "cycle", "num_recursions": 2}})"))
                  .ok());
}

TEST(ModelConfig, TakesNeutralValues) {
  std::vector<std::string> warnings;
  const auto config = ParseModelConfig(
      Changed(R"({"mlp_bias": false, "pretraining_tp": 1, "rope_scaling": {"type": "default"},
                  "partial_rotary_factor": 1.0, "sliding_window": null, "rope_interleaved": false,
                  "layer_types": ["full_attention", "full_attention"], "head_dim": 32})"),
      "", &warnings);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 32U);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST(ModelConfig, WarnsOnceOfTheRest) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(ParseModelConfig(Changed(R"({"zeta": 1, "alpha": {"x": [1]}})"), "", &warnings).ok());
  EXPECT_THAT(warnings, ElementsAre("config.json: ignored fields: alpha, zeta"));
  warnings.clear();
  Json config = Json::parse(kLlama);
  for (int i = 0; i < 30; ++i) config["field\n" + std::to_string(100 + i)] = i;
  ASSERT_TRUE(ParseModelConfig(config.dump(), "", &warnings).ok());
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], AllOf(HasSubstr("field\\n119 and 10 more"), Not(HasSubstr("\n"))));
}

TEST(ModelConfig, RefusesOtherText) {
  struct Case {
    const char* text;
    const char* message;
  };
  for (const Case& c :
       std::vector<Case>{{"", "it is empty"},
                         {"  \n", "line 2, column 1: unexpected end of input"},
                         {"null", "it is null"},
                         {"[1, 2]", "it is an array"},
                         {"{\n  \"vocab_size\": 1,\n}", "line 3, column 1: unexpected '}'"},
                         {"{\"a\": None}", "line 1, column 7: invalid literal"},
                         {"{'a': 1}", "line 1, column 2: "},
                         {"{} {}", "line 1, column 4: unexpected '{'"},
                         {"{\"a\": 1e999}", "line 1, column 11: number overflow"},
                         {"\xff", "line 1, column 1: invalid literal; last read: '\\377'"}}) {
    EXPECT_THAT(std::string(Parse(c.text).status().message()),
                AllOf(HasSubstr("config.json: not a JSON object: "), HasSubstr(c.message)))
        << c.text;
  }
  EXPECT_THAT(std::string(Parse(R"({"vocab_size": 1, "vocab_size": 2})").status().message()),
              HasSubstr("config.json: vocab_size is given twice"));
  const std::string deep = "{\"x\":" + std::string(500000, '[') + std::string(500000, ']') + "}";
  EXPECT_THAT(std::string(Parse(deep).status().message()), HasSubstr("nested deeper"));
  EXPECT_FALSE(Parse("{\"x\":" + std::string(500000, '[')).ok());
  const std::string wide = Changed("{\"hidden_act\": \"" + std::string(5000, 'x') + "\"}");
  EXPECT_LT(Parse(wide).status().message().size(), 300U);
}

}  // namespace
}  // namespace recurve
