// SPDX-License-Identifier: Apache-2.0
// ParseModelConfig: the object `mor`.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/model/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

const char kExpert[] = R"({
  "sharing": "middle_cycle", "num_recursions": 3,
  "router": {"type": "expert_choice", "network": "linear", "function": "sigmoid", "alpha": 0.1,
             "gating": "weighted", "sampling": "aux_loss"}})";
const char kToken[] = R"({
  "sharing": "middle_cycle", "num_recursions": 3,
  "router": {"type": "token_choice", "network": "mlp", "function": "softmax", "alpha": 1.0,
             "gating": "unweighted"}})";
const char kFixed[] = R"({"sharing": "cycle", "num_recursions": 2})";

// The text of config.json with `mor`, itself changed by a merge patch (null removes).
std::string Config(uint32_t layers, const std::string& mor, const std::string& changes) {
  Json object = Json::parse(mor);
  object.merge_patch(Json::parse(changes));
  return Json{{"vocab_size", 100},           {"hidden_size", 16},        {"intermediate_size", 24},
              {"num_hidden_layers", layers}, {"num_attention_heads", 2}, {"mor", object}}
      .dump();
}

absl::StatusOr<ModelConfig> Parse(uint32_t layers, const std::string& mor,
                                  const std::string& changes = "{}") {
  std::vector<std::string> warnings;
  auto config = ParseModelConfig(Config(layers, mor, changes), "", &warnings);
  EXPECT_TRUE(warnings.empty());
  return config;
}

TEST(MorConfig, ReadsExpertChoice) {
  const auto config = Parse(8, kExpert);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->sharing, Sharing::kMiddleCycle);
  EXPECT_EQ(config->num_recursions, 3U);
  EXPECT_EQ(config->block_layers(), 2U);
  EXPECT_EQ(config->kv_mode, KvMode::kRecursionWise);
  EXPECT_FALSE(config->per_recursion_attention);
  EXPECT_EQ(config->router.type, RouterType::kExpertChoice);
  EXPECT_EQ(config->router.network, RouterNetwork::kLinear);
  EXPECT_EQ(config->router.function, RouterFunction::kSigmoid);
  EXPECT_EQ(config->router.alpha, 0.1F);
  EXPECT_EQ(config->router.temperature, 1.0F);
  EXPECT_TRUE(config->router.weighted);
  EXPECT_EQ(config->router.sampling, RouterSampling::kAuxLoss);
  EXPECT_EQ(config->router.threshold, 0.5F);

  const auto other = Parse(8, kExpert, R"({"kv_mode": "shared_update", "num_recursions": 2,
      "attention_weights": "per_recursion",
      "router": {"network": "wide_mlp", "function": "tanh", "temperature": 2.5, "threshold": 0.75,
                 "gating": "unweighted", "sampling": "aux_router"}})");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->kv_mode, KvMode::kSharedUpdate);
  EXPECT_TRUE(other->per_recursion_attention);
  EXPECT_EQ(other->router.network, RouterNetwork::kMlp);
  EXPECT_EQ(other->router.function, RouterFunction::kTanh);
  EXPECT_EQ(other->router.temperature, 2.5F);
  EXPECT_EQ(other->router.threshold, 0.75F);
  EXPECT_FALSE(other->router.weighted);
  EXPECT_EQ(other->router.sampling, RouterSampling::kAuxRouter);

  const auto cycle =
      Parse(6, kExpert, R"({"sharing": "cycle", "router": {"function": "none", "alpha": null}})");
  ASSERT_TRUE(cycle.ok()) << cycle.status();
  EXPECT_EQ(cycle->router.function, RouterFunction::kNone);
  EXPECT_EQ(cycle->router.alpha, 1.0F);
}

TEST(MorConfig, ReadsTokenChoice) {
  const auto config = Parse(5, kToken);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->router.type, RouterType::kTokenChoice);
  EXPECT_EQ(config->router.network, RouterNetwork::kMlp);
  EXPECT_EQ(config->router.function, RouterFunction::kSoftmax);
  EXPECT_FALSE(config->router.weighted);
  EXPECT_FALSE(config->router.has_bias);
  const auto biased =
      Parse(5, kToken, R"({"router": {"balancing": "loss_free", "function": "sigmoid"}})");
  ASSERT_TRUE(biased.ok()) << biased.status();
  EXPECT_TRUE(biased->router.has_bias);
  EXPECT_EQ(biased->router.function, RouterFunction::kSigmoid);
}

TEST(MorConfig, DividesTheLayers) {
  const auto cycle = Parse(6, kFixed);
  ASSERT_TRUE(cycle.ok()) << cycle.status();
  EXPECT_EQ(cycle->block_layers(), 3U);
  EXPECT_EQ(cycle->recursions(), 2U);
  EXPECT_EQ(cycle->entry_layers(), 0U);
  const auto middle = Parse(6, kFixed, R"({"sharing": "middle_cycle"})");
  EXPECT_EQ(middle->block_layers(), 2U);
  EXPECT_EQ(middle->exit_layers(), 1U);
  const auto sequence = Parse(6, kFixed, R"({"sharing": "sequence"})");
  EXPECT_EQ(sequence->recursions(), 1U);
  EXPECT_EQ(sequence->layers_per_recursion(), 6U);
  EXPECT_EQ(sequence->block_layer(3), 1U);
  const auto middle_sequence = Parse(6, kFixed, R"({"sharing": "middle_sequence"})");
  EXPECT_EQ(middle_sequence->layers_per_recursion(), 4U);
  EXPECT_EQ(middle_sequence->block_layers(), 2U);
}

struct BadMor {
  uint32_t layers;
  const char* mor;
  const char* changes;
  const char* message;
};

void ExpectRefused(const std::vector<BadMor>& cases) {
  for (const BadMor& bad : cases) {
    const auto config = Parse(bad.layers, bad.mor, bad.changes);
    ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << bad.changes;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(bad.message)) << bad.changes;
  }
}

TEST(MorConfig, RefusesUnknownFields) {
  ExpectRefused({
      {6, kFixed, R"({"recursions": 2})", "mor.recursions is 2; expected no field of this name"},
      {8, kExpert, R"({"router": {"capacity": 0.5}})", "mor.router.capacity is 0.5; expected no"},
      {5, kToken, R"({"router": {"coeff": 0.5}})", "mor.router.coeff"},
  });
}

TEST(MorConfig, RefusesMissingFields) {
  ExpectRefused({
      {6, kFixed, R"({"sharing": null})", "mor.sharing is absent; expected one of \"cycle\""},
      {6, kFixed, R"({"num_recursions": null})", "mor.num_recursions is absent"},
      {8, kExpert, R"({"router": {"type": null}})", "mor.router.type is absent"},
      {8, kExpert, R"({"router": {"network": null}})", "mor.router.network is absent"},
      {8, kExpert, R"({"router": {"function": null}})", "mor.router.function is absent"},
      {8, kExpert, R"({"router": {"alpha": null}})", "mor.router.alpha is absent"},
      {8, kExpert, R"({"router": {"gating": null}})", "mor.router.gating is absent"},
      {8, kExpert, R"({"router": {"sampling": null}})", "mor.router.sampling is absent"},
      {5, kToken, R"({"router": {"alpha": null}})", "mor.router.alpha is absent"},
  });
}

TEST(MorConfig, RefusesOtherValues) {
  ExpectRefused({
      {6, kFixed, R"({"sharing": "loop"})", "mor.sharing is \"loop\"; expected one of"},
      {6, kFixed, R"({"sharing": 3})", "mor.sharing is 3"},
      {6, kFixed, R"({"num_recursions": 0})", "mor.num_recursions is 0"},
      {6, kFixed, R"({"num_recursions": 7})", "mor.num_recursions is 7"},
      {6, kFixed, R"({"kv_mode": "own"})", "mor.kv_mode is \"own\""},
      {6, kFixed, R"({"attention_weights": true})", "mor.attention_weights is true"},
      {6, kFixed, R"({"router": "linear"})", "mor.router is \"linear\"; expected an object"},
      {8, kExpert, R"({"router": {"type": "soft"}})", "mor.router.type is \"soft\""},
      {8, kExpert, R"({"router": {"network": "conv"}})", "mor.router.network"},
      {8, kExpert, R"({"router": {"function": "softmax"}})", "mor.router.function is \"softmax\""},
      {5, kToken, R"({"router": {"function": "tanh"}})", "mor.router.function is \"tanh\""},
      {5, kToken, R"({"router": {"function": "none"}})", "mor.router.function is \"none\""},
      {8, kExpert, R"({"router": {"alpha": 0}})", "mor.router.alpha is 0; expected a number above"},
      {8, kExpert, R"({"router": {"alpha": "1"}})", "mor.router.alpha is \"1\""},
      {8, kExpert, R"({"router": {"temperature": -1}})", "mor.router.temperature is -1"},
      {8, kExpert, R"({"router": {"threshold": 1.5}})", "mor.router.threshold is 1.5; expected a"},
      {8, kExpert, R"({"router": {"threshold": -0.1}})", "mor.router.threshold is -0.1"},
      {8, kExpert, R"({"router": {"gating": "half"}})", "mor.router.gating is \"half\""},
      {8, kExpert, R"({"router": {"sampling": "top_k"}})", "mor.router.sampling is \"top_k\""},
      {5, kToken, R"({"router": {"balancing": "loss"}})", "mor.router.balancing is \"loss\""},
  });
}

TEST(MorConfig, NullIsNotAValue) {
  std::vector<std::string> warnings;
  Json config = Json::parse(Config(6, kFixed, "{}"));
  config["mor"]["kv_mode"] = nullptr;
  EXPECT_THAT(std::string(ParseModelConfig(config.dump(), "", &warnings).status().message()),
              HasSubstr("mor.kv_mode is null"));
  config["mor"] = 3;
  EXPECT_THAT(std::string(ParseModelConfig(config.dump(), "", &warnings).status().message()),
              HasSubstr("mor is 3; expected an object"));
}

TEST(MorConfig, RefusesUndefinedCombinations) {
  ExpectRefused({
      {7, kFixed, "{}",
       "mor.num_recursions is 2; expected a divisor of the shared layers: "
       "num_hidden_layers is 7"},
      {7, kFixed, R"({"sharing": "sequence"})", "mor.num_recursions is 2"},
      {7, kFixed, R"({"sharing": "middle_cycle"})", "less the first and the last"},
      {2, kFixed, R"({"sharing": "middle_sequence", "num_recursions": 1})",
       "num_hidden_layers is 2"},
      {1, kFixed, R"({"sharing": "middle_cycle", "num_recursions": 1})", "num_hidden_layers is 1"},
      {6, kFixed, R"({"sharing": "sequence", "kv_mode": "shared"})",
       "mor.kv_mode is \"shared\", which is not defined with sharing"},
      {6, kFixed, R"({"sharing": "middle_sequence", "kv_mode": "shared_update"})", "mor.kv_mode"},
      {6, kFixed, R"({"attention_weights": "per_recursion"})",
       "mor.attention_weights is \"per_recursion\", which is not defined without an expert_choice"},
      {5, kToken, R"({"attention_weights": "per_recursion"})", "mor.attention_weights"},
      {6, kExpert, R"({"sharing": "sequence"})", "mor.router.type is \"expert_choice\", which"},
      {8, kExpert, R"({"sharing": "middle_sequence"})", "mor.router.type"},
      {6, kToken, R"({"sharing": "cycle"})",
       "mor.router.type is \"token_choice\", which is not defined with a mor.sharing other than"},
      {8, kExpert, R"({"router": {"function": "none"}})",
       "mor.router.alpha is 0.1, which is not defined with mor.router.function \"none\""},
      {8, kExpert, R"({"router": {"balancing": "none"}})",
       "mor.router.balancing is \"none\", which"},
      {5, kToken, R"({"router": {"sampling": "aux_loss"}})", "mor.router.sampling is \"aux_loss\""},
      {5, kToken, R"({"router": {"threshold": 0.5}})", "mor.router.threshold is 0.5, which"},
  });
}

TEST(MorConfig, BoundsTheRecursions) {
  ExpectRefused({
      {15, kFixed, R"({"num_recursions": 15})", "mor.num_recursions is 15; expected at most 14"},
      {15, kFixed, R"({"num_recursions": 15, "kv_mode": "shared"})", "at most 14"},
      {17, kExpert, R"({"num_recursions": 15, "kv_mode": "shared_update"})", "at most 14"},
  });
  EXPECT_TRUE(Parse(14, kFixed, R"({"num_recursions": 14})").ok());
  EXPECT_TRUE(Parse(15, kFixed, R"({"num_recursions": 15, "sharing": "sequence"})").ok());
}

}  // namespace
}  // namespace recurve
