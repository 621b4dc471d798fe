// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/model/weights.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/engine/model/load_written.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// The tensors of a random model of `config`, changed by `change`, must be refused with `message`.
void ExpectRefused(const std::string& config, const std::function<void(WrittenTensors&)>& change,
                   const std::string& message) {
  WrittenTensors tensors = RandomTensors(Parse(config), 1);
  change(tensors);
  const auto model = Load(config, tensors);
  ASSERT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
}

TEST(LoadModelErrors, RefusesDoubles) {
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

TEST(LoadModelErrors, RefusesWhatIsNotFinite) {
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

TEST(LoadModelErrors, CountsWhatIsNotFinite) {
  ExpectRefused(
      ConfigText(1, ""),
      [](WrittenTensors& tensors) {
        tensors["lm_head.weight"] = {"BF16", {23, 8}, std::string(23 * 16, '\xff')};
      },
      "holds nan at [0, 0], the first of 184 values of 184");
}

// A checkpoint of a recursive model whose config.json is that of its trainer: a plain LlamaConfig.
TEST(LoadModelErrors, SaysThatACheckpointIsRecursive) {
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

TEST(LoadModelErrors, NamesThePrefixThatAWrapperLeft) {
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

TEST(LoadModelErrors, RefusesUnequalDuplicates) {
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

TEST(LoadModelErrors, RefusesMissingTensors) {
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

TEST(LoadModelErrors, RefusesOtherShapes) {
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

TEST(LoadModelErrors, RefusesSurplusTensors) {
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
TEST(LoadModelErrors, NamesWhatADirectoryHoldsInstead) {
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

TEST(LoadModelErrors, SaysWhatIsNoDirectory) {
  const ScopedDirectory directory;
  directory.Write("model.gguf", "GGUF");
  EXPECT_THAT(std::string(LoadModel(directory.path() + "/model.gguf").status().message()),
              HasSubstr("model.gguf is a file; expected a model directory"));
  EXPECT_THAT(std::string(LoadModel(directory.path() + "/absent").status().message()),
              AllOf(HasSubstr("/absent does not exist"), HasSubstr("model directory")));
}

TEST(LoadModelErrors, ErrorsNameTheFile) {
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
