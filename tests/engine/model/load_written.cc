// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/model/load_written.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "gtest/gtest.h"
#include "tests/scoped_directory.h"

namespace recurve {

using Json = nlohmann::json;

std::string ConfigText(uint32_t layers, const std::string& mor, const std::string& changes) {
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

absl::StatusOr<Model> Load(const std::string& config, const WrittenTensors& tensors) {
  const ScopedDirectory directory;
  directory.Write("config.json", config);
  directory.Write("model.safetensors", SafetensorsFile(tensors));
  return LoadModel(directory.path());
}

}  // namespace recurve
