// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <functional>
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
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

const char kExpert[] = R"({"sharing": "middle_cycle", "num_recursions": 3, "router":
  {"type": "expert_choice", "network": "linear", "function": "sigmoid", "alpha": 0.1,
   "gating": "weighted", "sampling": "aux_loss"}})";
const char kToken[] = R"({"sharing": "middle_cycle", "num_recursions": 3, "router":
  {"type": "token_choice", "network": "linear", "function": "softmax", "alpha": 1.0,
   "gating": "weighted", "balancing": "loss_free"}})";

std::string ConfigText(uint32_t layers, const std::string& mor, const std::string& changes = "{}") {
  Json config = {{"vocab_size", 23},         {"hidden_size", 8},
                 {"intermediate_size", 12},  {"num_hidden_layers", layers},
                 {"num_attention_heads", 2}, {"num_key_value_heads", 1}};
  if (!mor.empty()) config["mor"] = Json::parse(mor);
  config.merge_patch(Json::parse(changes));
  return config.dump();
}

ModelConfig Parse(const std::string& text) {
  std::vector<std::string> warnings;
  const auto config = ParseModelConfig(text, "", &warnings);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

uint64_t BytesOf(const WrittenTensors& tensors) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.data.size();
  return bytes;
}

// Loads a directory with this config.json and these tensors.
absl::StatusOr<Model> Load(const std::string& config, const WrittenTensors& tensors) {
  const ScopedDirectory directory;
  directory.Write("config.json", config);
  directory.Write("model.safetensors", SafetensorsFile(tensors));
  return LoadModel(directory.path());
}

// The tensors of a random model of `config`, changed by `change`, must be refused with `message`.
void ExpectRefused(const std::string& config, const std::function<void(WrittenTensors&)>& change,
                   const std::string& message) {
  WrittenTensors tensors = RandomTensors(Parse(config), 1);
  change(tensors);
  const auto model = Load(config, tensors);
  ASSERT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
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

TEST(LoadModel, RefusesDoubles) {
  ExpectRefused(
      ConfigText(1, ""),
      [](WrittenTensors& tensors) {
        tensors["model.norm.weight"] = {"F64", {8}, std::string(64, '\0')};
      },
      "tensor model.norm.weight is f64 [8]; expected f32, f16 or bf16");
}

// The bits of a value in place of one element.
std::string Changed(std::string data, size_t index, const std::string& bits) {
  data.replace(index * bits.size(), bits.size(), bits);
  return data;
}

TEST(LoadModel, RefusesWhatIsNotFinite) {
  const std::string expert = ConfigText(8, kExpert);
  const auto set = [](const char* name, const char* type, size_t index, const std::string& bits) {
    return [=](WrittenTensors& tensors) {
      WrittenTensor& tensor = tensors.at(name);
      size_t elements = 1;
      for (const uint64_t size : tensor.shape) elements *= size;
      tensor = {type, tensor.shape,
                Changed(std::string(elements * bits.size(), '\0'), index, bits)};
    };
  };
  const std::string f32_nan("\x00\x00\xc0\x7f", 4);
  ExpectRefused(expert, set("model.layers.0.mlp.up_proj.weight", "F32", 8 * 3 + 5, f32_nan),
                "tensor model.layers.0.mlp.up_proj.weight holds nan at [3, 5], the first of 1 "
                "values of 96 that are not finite");
  ExpectRefused(expert, set("model.norm.weight", "F32", 7, std::string("\x00\x00\x80\xff", 4)),
                "tensor model.norm.weight holds -inf at [0, 7]");
  ExpectRefused(expert, set("model.embed_tokens.weight", "BF16", 183, "\x80\x7f"),
                "tensor model.embed_tokens.weight holds inf at [22, 7]");
  ExpectRefused(expert, set("lm_head.weight", "F16", 0, std::string("\x00\xfc", 2)),
                "tensor lm_head.weight holds -inf at [0, 0]");
  ExpectRefused(expert, set("lm_head.weight", "F16", 20, "\x01\x7c"),
                "tensor lm_head.weight holds nan at [2, 4]");
  ExpectRefused(expert, set("model.layers.2.mor_router.router.weight", "BF16", 1, "\xff\xff"),
                "tensor model.layers.2.mor_router.router.weight holds nan at [0, 1]");
  ExpectRefused(ConfigText(8, kToken), set("model.layers.1.router_bias", "F32", 2, f32_nan),
                "tensor model.layers.1.router_bias holds nan at [0, 2]");
  // Finite as f32, infinite once it is rounded to bf16; and the greatest value that is not.
  ExpectRefused(expert, set("lm_head.weight", "F32", 1, std::string("\x00\x80\x7f\x7f", 4)),
                "tensor lm_head.weight holds 3.396");
  WrittenTensors greatest = RandomTensors(Parse(expert), 1);
  set("lm_head.weight", "F32", 1, std::string("\xff\x7f\x7f\xff", 4))(greatest);
  set("model.norm.weight", "F16", 1, "\xff\x7b")(greatest);
  set("model.embed_tokens.weight", "BF16", 1, "\x7f\x7f")(greatest);
  EXPECT_TRUE(Load(expert, greatest).ok());
}

TEST(LoadModel, CountsWhatIsNotFinite) {
  ExpectRefused(
      ConfigText(1, ""),
      [](WrittenTensors& tensors) {
        tensors["lm_head.weight"] = {"BF16", {23, 8}, std::string(23 * 16, '\xff')};
      },
      "holds nan at [0, 0], the first of 184 values of 184");
}

// A checkpoint of a recursive model whose config.json is that of its trainer: a plain LlamaConfig.
TEST(LoadModel, SaysThatACheckpointIsRecursive) {
  struct Case {
    std::string recursive;  // the config.json of the tensors
    std::string changes;    // what makes it the config.json of the directory
    std::vector<std::string> messages;
  };
  const Case cases[] = {
      {ConfigText(8, kExpert),
       R"({"mor": null})",
       {"config.json has no object mor, which a Mixture-of-Recursions model needs",
        "model.layers.1.block.0.", "model.layers.1.mor_router.router.weight", "expert_choice",
        "\"middle_cycle\"", "\"num_recursions\": 3", "docs/model.md"}},
      {ConfigText(6, kExpert, R"({"mor": {"sharing": "cycle"}})"),
       R"({"mor": null})",
       {"has no object mor", "model.layers.0.block.0.", "expert_choice", "\"cycle\"",
        "\"num_recursions\": 3"}},
      {ConfigText(8, kToken),
       R"({"mor": null})",
       {"has no object mor", "model.layers.1.block_list.0.0.", "token_choice"}},
      {ConfigText(8, kToken),
       R"({"mor": {"router": null}})",
       {"config.json has no object mor.router", "model.layers.1.block_list.0.0.", "token_choice"}},
  };
  for (const Case& c : cases) {
    Json config = Json::parse(c.recursive);
    config.merge_patch(Json::parse(c.changes));
    const auto model = Load(config.dump(), RandomTensors(Parse(c.recursive), 1));
    ASSERT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
    for (const std::string& message : c.messages) {
      EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
    }
  }
}

TEST(LoadModel, NamesThePrefixThatAWrapperLeft) {
  for (const auto& [prefix, remedy] :
       std::vector<std::pair<std::string, std::string>>{{"module.", "DistributedDataParallel"},
                                                        {"_orig_mod.", "torch.compile"},
                                                        {"_orig_mod.module.", "torch.compile"},
                                                        {"zeta.", "without it"}}) {
    ExpectRefused(
        ConfigText(1, ""),
        [&prefix = prefix](WrittenTensors& tensors) {
          WrittenTensors wrapped;
          for (const auto& [name, tensor] : tensors) wrapped[prefix + name] = tensor;
          tensors = wrapped;
        },
        remedy);
    ExpectRefused(
        ConfigText(1, ""),
        [&prefix = prefix](WrittenTensors& tensors) {
          WrittenTensors wrapped;
          for (const auto& [name, tensor] : tensors) wrapped[prefix + name] = tensor;
          tensors = wrapped;
        },
        "names begin with " + prefix);
  }
  // A LlamaModel without its head, saved alone.
  ExpectRefused(
      ConfigText(1, ""),
      [](WrittenTensors& tensors) {
        WrittenTensors inner;
        for (const auto& [name, tensor] : tensors) {
          if (name.starts_with("model.")) inner[name.substr(6)] = tensor;
        }
        tensors = inner;
      },
      "names lack model. at their beginning");
}

TEST(LoadModel, RefusesUnequalDuplicates) {
  const std::string expert = ConfigText(8, kExpert);
  const auto duplicate = [](const char* from, const char* to) {
    return [from, to](WrittenTensors& tensors) {
      tensors[to] = tensors.at(from);
      tensors[to].data.back() ^= 1;
    };
  };
  ExpectRefused(expert,
                duplicate("model.layers.1.block.0.mlp.up_proj.weight",
                          "model.layers.2.block.0.mlp.up_proj.weight"),
                "tensor model.layers.2.block.0.mlp.up_proj.weight repeats "
                "model.layers.1.block.0.mlp.up_proj.weight with other values; expected equal");
  ExpectRefused(expert,
                duplicate("model.layers.1.block.0.self_attn.q_proj.weight",
                          "model.layers.2.block.0.self_attn.q_proj.weight"),
                "mor.attention_weights \"per_recursion\"");
  ExpectRefused(ConfigText(1, "", R"({"tie_word_embeddings": true})"),
                duplicate("model.embed_tokens.weight", "lm_head.weight"),
                "tensor lm_head.weight repeats model.embed_tokens.weight");
  ExpectRefused(
      ConfigText(1, "", R"({"tie_word_embeddings": true})"),
      [](WrittenTensors& tensors) {
        tensors["lm_head.weight"] = {"F16", {23, 8}, std::string(23 * 16, '\0')};
      },
      "repeats model.embed_tokens.weight as f16 [23, 8]");
}

TEST(LoadModel, RefusesMissingTensors) {
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
        "model.layers.0.input_layernorm.weight", "model.layers.4.mlp.down_proj.weight",
        "model.layers.1.block.1.self_attn.v_proj.weight",
        "model.layers.3.mor_router.router.weight"}) {
    ExpectRefused(
        ConfigText(8, kExpert), [name](WrittenTensors& tensors) { tensors.erase(name); },
        std::string("tensor ") + name + " is missing; expected [");
  }
  ExpectRefused(
      ConfigText(8, kToken),
      [](WrittenTensors& tensors) { tensors.erase("model.layers.1.router_bias"); },
      "tensor model.layers.1.router_bias is missing; expected [3]");
}

TEST(LoadModel, RefusesOtherShapes) {
  const auto reshape = [](const char* name, const std::vector<uint64_t>& shape) {
    return [name, shape](WrittenTensors& tensors) {
      uint64_t elements = 1;
      for (const uint64_t size : shape) elements *= size;
      tensors.at(name) = {"F32", shape, std::string(4 * elements, 'x')};
    };
  };
  const std::string expert = ConfigText(8, kExpert);
  ExpectRefused(expert, reshape("model.layers.0.self_attn.k_proj.weight", {8, 4}),
                "tensor model.layers.0.self_attn.k_proj.weight is f32 [8, 4]; expected [4, 8]");
  ExpectRefused(expert, reshape("model.embed_tokens.weight", {22, 8}), "expected [23, 8]");
  ExpectRefused(expert, reshape("model.norm.weight", {1, 8}), "is f32 [1, 8]; expected [8]");
  ExpectRefused(expert, reshape("model.norm.weight", {}), "is f32 []; expected [8]");
  ExpectRefused(expert, reshape("model.layers.1.mor_router.router.weight", {8}), "expected [1, 8]");
  ExpectRefused(ConfigText(8, kToken), reshape("model.layers.1.mor_router.router.weight", {1, 8}),
                "expected [3, 8]");
}

TEST(LoadModel, RefusesSurplusTensors) {
  ExpectRefused(
      ConfigText(8, kExpert),
      [](WrittenTensors& tensors) {
        tensors["model.layers.1.mlp_router.router.weight"] =
            tensors.at("model.layers.1.mor_router.router.weight");
        tensors["zeta\\n"] = {"F32", {1}, "1234"};
      },
      "tensor model.layers.1.mlp_router.router.weight has no place in the model of config.json; "
      "neither have 1 others");
  ExpectRefused(
      ConfigText(3, ""),
      [](WrittenTensors& tensors) {
        tensors["model.layers.3.input_layernorm.weight"] = tensors.at("model.norm.weight");
      },
      "tensor model.layers.3.input_layernorm.weight has no place");
}

// Directories that hold a model, or part of one, in a form that is not read.
TEST(LoadModel, NamesWhatADirectoryHoldsInstead) {
  struct Case {
    std::vector<std::string> files;
    std::vector<std::string> messages;
  };
  const std::vector<Case> cases = {
      {{"config.json", "pytorch_model.bin"}, {"pytorch_model.bin", "save_pretrained"}},
      {{"config.json", "pytorch_model.bin.index.json"}, {"save_pretrained"}},
      {{"config.json", "consolidated.00.pth"}, {"consolidated.00.pth", "transformers"}},
      {{"config.json", "x-q4.gguf"}, {"x-q4.gguf", "GGUF"}},
      {{"x-q4.gguf"}, {"x-q4.gguf", "GGUF"}},
      {{"adapter_config.json", "adapter_model.safetensors"},
       {"adapter_config.json", "merge_and_unload"}},
      {{"config.json", "adapter_model.safetensors"}, {"adapter_model.safetensors"}},
      {{"config.json", "other.safetensors"}, {"other.safetensors", "model.safetensors"}},
      {{"config.json", "tf_model.h5"}, {"tf_model.h5"}},
      {{"config.json", "tokenizer.json"}, {"model.safetensors.index.json"}},
      {{"snapshots/3b/config.json"}, {"snapshots"}},
  };
  for (const Case& c : cases) {
    const ScopedDirectory directory;
    for (const std::string& file : c.files) directory.Write(file, ConfigText(1, ""));
    const absl::Status status = LoadModel(directory.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << c.files[0];
    for (const std::string& message : c.messages) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    }
  }
}

TEST(LoadModel, SaysWhatIsNoDirectory) {
  const ScopedDirectory directory;
  directory.Write("model.gguf", "GGUF");
  EXPECT_THAT(std::string(LoadModel(directory.path() + "/model.gguf").status().message()),
              HasSubstr("model.gguf is a file; expected a model directory"));
  EXPECT_THAT(std::string(LoadModel(directory.path() + "/absent").status().message()),
              AllOf(HasSubstr("/absent does not exist"), HasSubstr("model directory")));
}

TEST(LoadModel, ErrorsNameTheFile) {
  const ScopedDirectory directory;
  EXPECT_EQ(LoadModel(directory.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(LoadModel(directory.path()).status().message()),
              HasSubstr(directory.path() + "/config.json"));
  directory.Write("config.json", "{}");
  EXPECT_THAT(std::string(LoadModel(directory.path()).status().message()),
              HasSubstr(directory.path() + "/config.json: vocab_size is absent"));
  directory.Write("config.json", ConfigText(1, ""));
  EXPECT_EQ(LoadModel(directory.path()).status().code(), absl::StatusCode::kNotFound);
  directory.Write("generation_config.json", "[");
  EXPECT_THAT(std::string(LoadModel(directory.path()).status().message()),
              HasSubstr("generation_config.json: not a JSON object"));
}

}  // namespace
}  // namespace recurve
