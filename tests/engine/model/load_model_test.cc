// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "engine/model/tensor_layout.h"
#include "engine/model/weights.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/engine/model/load_written.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

uint64_t BytesOf(const WrittenTensors& tensors) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.data.size();
  return bytes;
}

std::set<std::string> Names(const std::string& config) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : RandomTensors(Parse(config), 1)) names.insert(name);
  return names;
}

// The names of `layers` (as "model.layers.0."), of the common tensors and of `others`.
std::set<std::string> Expected(const std::vector<std::string>& layers,
                               const std::vector<std::string>& others) {
  std::set<std::string> names = {"model.embed_tokens.weight", "model.norm.weight",
                                 "lm_head.weight"};
  for (const std::string& layer : layers) {
    for (const char* leaf : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
                             "input_layernorm", "post_attention_layernorm"}) {
      names.insert("model.layers." + layer + "." + leaf + ".weight");
    }
  }
  for (const std::string& other : others) names.insert("model.layers." + other);
  return names;
}

std::string Fixed(const std::string& sharing) {
  return "{\"num_recursions\": 2, \"sharing\": \"" + sharing + "\"}";
}

TEST(TensorNames, OfFixedDepthStandAtTheLowestLayer) {
  EXPECT_EQ(Names(ConfigText(3, "")), Expected({"0", "1", "2"}, {}));
  EXPECT_EQ(Names(ConfigText(4, Fixed("cycle"))), Expected({"0", "1"}, {}));
  EXPECT_EQ(Names(ConfigText(6, Fixed("middle_cycle"))), Expected({"0", "1", "2", "5"}, {}));
  EXPECT_EQ(Names(ConfigText(6, Fixed("sequence"))), Expected({"0", "2", "4"}, {}));
  EXPECT_EQ(Names(ConfigText(6, Fixed("middle_sequence"))), Expected({"0", "1", "3", "5"}, {}));
  const std::string tied = ConfigText(1, "", R"({"tie_word_embeddings": true})");
  EXPECT_EQ(Names(tied).count("lm_head.weight"), 0U);
}

TEST(TensorNames, OfExpertChoice) {
  EXPECT_EQ(Names(ConfigText(8, kExpert)),
            Expected({"0", "1.block.0", "1.block.1", "4"},
                     {"1.mor_router.router.weight", "2.mor_router.router.weight",
                      "3.mor_router.router.weight"}));
  const std::string changes = R"({"mor": {"sharing": "cycle",
      "router": {"network": "mlp", "sampling": "aux_router"}}})";
  EXPECT_EQ(Names(ConfigText(6, kExpert, changes)),
            Expected({"0.block.0", "0.block.1"},
                     {"0.mor_router.router.0.weight", "0.mor_router.router.2.weight",
                      "1.mor_router.router.0.weight", "1.mor_router.router.2.weight",
                      "2.mor_router.router.0.weight", "2.mor_router.router.2.weight",
                      "0.mlp_router.router.0.weight", "0.mlp_router.router.2.weight",
                      "1.mlp_router.router.0.weight", "1.mlp_router.router.2.weight",
                      "2.mlp_router.router.0.weight", "2.mlp_router.router.2.weight"}));
}

TEST(TensorNames, OfAttentionPerRecursion) {
  std::vector<std::string> others;
  for (const char* recursion : {"2", "3"}) {
    for (const char* leaf : {"q", "k", "v", "o"}) {
      others.push_back(std::string(recursion) + ".block.0.self_attn." + leaf + "_proj.weight");
    }
  }
  for (const char* layer : {"1", "2", "3"}) {
    others.push_back(std::string(layer) + ".mor_router.router.weight");
  }
  EXPECT_EQ(Names(ConfigText(5, kExpert, R"({"mor": {"attention_weights": "per_recursion"}})")),
            Expected({"0", "1.block.0", "4"}, others));
}

TEST(TensorNames, OfTokenChoice) {
  EXPECT_EQ(Names(ConfigText(8, kToken)),
            Expected({"0", "1.block_list.0.0", "1.block_list.0.1", "2"},
                     {"1.mor_router.router.weight", "1.router_bias"}));
  const std::string changes = R"({"mor": {"router": {"network": "wide_mlp", "balancing": null}}})";
  EXPECT_EQ(Names(ConfigText(5, kToken, changes)),
            Expected({"0", "1.block_list.0.0", "2"},
                     {"1.mor_router.router.0.weight", "1.mor_router.router.2.weight"}));
}

TEST(LoadModel, PlacesTheTensorsOfEveryVariant) {
  const std::string configs[] = {
      ConfigText(3, ""),
      ConfigText(4, Fixed("cycle")),
      ConfigText(6, Fixed("middle_sequence")),
      ConfigText(8, kExpert),
      ConfigText(8, kExpert, R"({"mor": {"attention_weights": "per_recursion"}})"),
      ConfigText(6, kExpert, R"({"mor": {"sharing": "cycle", "router": {"network": "mlp",
                                 "sampling": "aux_router"}}})"),
      ConfigText(8, kToken),
      ConfigText(5, kToken, R"({"tie_word_embeddings": true})"),
  };
  for (const std::string& text : configs) {
    const ModelConfig config = Parse(text);
    auto model = Load(text, RandomTensors(config, 7));
    ASSERT_TRUE(model.ok()) << model.status() << text;
    EXPECT_THAT(model->warnings, IsEmpty()) << text;
    Model expected = RandomModel(config, DataType::kF32, 7);
    EXPECT_EQ(model->weights.lm_head.data == model->weights.embedding.data,
              config.tie_word_embeddings);
    const std::vector<TensorSlot> slots = LayOutTensors(config, &model->weights);
    const std::vector<TensorSlot> others = LayOutTensors(config, &expected.weights);
    ASSERT_EQ(slots.size(), others.size());
    for (size_t i = 0; i < slots.size(); ++i) {
      const Tensor& a = *slots[i].tensor;
      const Tensor& b = *others[i].tensor;
      ASSERT_EQ(a.rows, b.rows) << slots[i].name;
      ASSERT_EQ(a.columns, b.columns) << slots[i].name;
      ASSERT_EQ(std::memcmp(a.data, b.data, size_t{4} * a.rows * a.columns), 0) << slots[i].name;
    }
  }
}

TEST(LoadModel, TakesHalvesAndShards) {
  const std::string text = ConfigText(1, "");
  WrittenTensors first = RandomTensors(Parse(text), 1);
  WrittenTensors second;
  first["model.norm.weight"] = {"BF16", {8}, std::string(16, '\0')};
  second["lm_head.weight"] = {"F16", {23, 8}, std::string(23 * 16, 'x')};
  first.erase("lm_head.weight");
  const ScopedDirectory directory;
  directory.Write("config.json", text);
  directory.Write("generation_config.json", R"({"eos_token_id": [4, 2]})");
  directory.Write("a.safetensors", SafetensorsFile(first));
  directory.Write("b.safetensors", SafetensorsFile(second));
  Json map;
  for (const auto& [name, tensor] : first) map[name] = "a.safetensors";
  map["lm_head.weight"] = "b.safetensors";
  directory.Write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const auto progress = std::make_shared<Progress>();
  const auto model = LoadModel(directory.path(), progress);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(progress->Get().what, "checking weights");
  EXPECT_EQ(progress->Get().done, BytesOf(first) + BytesOf(second));
  EXPECT_EQ(progress->Get().total, SafetensorsFile(first).size() + SafetensorsFile(second).size());
  EXPECT_EQ(model->weights.final_norm.type, DataType::kBf16);
  EXPECT_EQ(model->weights.lm_head.type, DataType::kF16);
  EXPECT_EQ(static_cast<char>(model->weights.lm_head.data[23 * 16 - 1]), 'x');
  EXPECT_EQ(model->weights.embedding.type, DataType::kF32);
  EXPECT_EQ(model->config.eos_token_ids, (std::vector<uint32_t>{4, 2}));
}

// What the authors' code saves: every use of a shared tensor under its own name.
TEST(LoadModel, IgnoresEqualDuplicates) {
  struct Case {
    std::string config, from, to;
    int duplicates;
  };
  const Case cases[] = {
      {ConfigText(8, kExpert), "1.block.", "3.block.", 18},
      {ConfigText(8, kToken), "1.block_list.0.", "1.block_list.2.", 18},
      {ConfigText(6, Fixed("cycle")), "1.", "4.", 9},
      {ConfigText(6, Fixed("middle_cycle")), "2.", "4.", 9},
      {ConfigText(6, Fixed("sequence")), "2.", "3.", 9},
      {ConfigText(6, Fixed("middle_sequence")), "3.", "4.", 9},
  };
  for (const Case& c : cases) {
    WrittenTensors tensors = RandomTensors(Parse(c.config), 1);
    const WrittenTensors stored = tensors;
    const std::string from = "model.layers." + c.from;
    for (const auto& [name, tensor] : stored) {
      if (name.starts_with(from)) {
        if (name.find("router") != std::string::npos) continue;
        tensors["model.layers." + c.to + name.substr(from.size())] = tensor;
      }
    }
    const auto model = Load(c.config, tensors);
    ASSERT_TRUE(model.ok()) << model.status();
    ASSERT_EQ(model->warnings.size(), 1U) << c.to;
    EXPECT_THAT(model->warnings[0], HasSubstr(std::to_string(c.duplicates) + " equal duplicates"));
  }
}

TEST(LoadModel, IgnoresInverseFrequenciesAndATiedHead) {
  const std::string text = ConfigText(1, "", R"({"tie_word_embeddings": true, "zeta": 1})");
  WrittenTensors tensors = RandomTensors(Parse(text), 1);
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {2}, "12345678"};
  const auto model = Load(text, tensors);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->warnings.size(), 2U);
  EXPECT_EQ(model->warnings[0], "config.json: ignored fields: zeta");
  EXPECT_EQ(model->warnings[1],
            "ignored tensors: 1 equal duplicates of shared tensors, 1 inv_freq");
}

// Old checkpoints keep the frequencies in double.
TEST(LoadModel, IgnoresInverseFrequenciesOfEveryType) {
  const std::string text = ConfigText(1, "");
  WrittenTensors tensors = RandomTensors(Parse(text), 1);
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F64", {1}, "12345678"};
  const auto model = Load(text, tensors);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->warnings, ElementsAre(HasSubstr(", 1 inv_freq")));
}

}  // namespace
}  // namespace recurve
