// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/model/checkpoint_writer.h"

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/model/tensor_layout.h"
#include "engine/model/weights.h"
#include "gtest/gtest.h"

namespace recurve {

std::string SafetensorsFile(std::string_view header, std::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i)));
  }
  return file.append(header).append(data);
}

std::string SafetensorsFile(const WrittenTensors& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    std::string shape;
    for (const uint64_t size : tensor.shape) {
      shape += (shape.empty() ? "" : ",") + std::to_string(size);
    }
    const size_t begin = data.size();
    data += tensor.data;
    header += absl::StrCat(",\"", name, "\":{\"dtype\":\"", tensor.dtype, "\",\"shape\":[", shape,
                           "],\"data_offsets\":[", begin, ",", data.size(), "]}");
  }
  return SafetensorsFile(header + "}  ", data);
}

WrittenTensors RandomTensors(const ModelConfig& config, uint64_t seed) {
  // LayOutTensors is deterministic: the slots of a second layout name the tensors of the model.
  const Model model = RandomModel(config, DataType::kF32, seed);
  Model copy = model;
  WrittenTensors tensors;
  for (const TensorSlot& slot : LayOutTensors(config, &copy.weights)) {
    const size_t bytes = size_t{4} * slot.tensor->rows * slot.tensor->columns;
    tensors[slot.name] = {"F32", slot.shape,
                          std::string(reinterpret_cast<const char*>(slot.tensor->data), bytes)};
  }
  return tensors;
}

void WriteSmallModel(const ScopedDirectory& directory) {
  const char config[] = R"({"vocab_size": 258, "hidden_size": 32, "intermediate_size": 32,
      "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64})";
  std::vector<std::string> warnings;
  directory.Write("config.json", config);
  directory.Write("model.safetensors",
                  SafetensorsFile(RandomTensors(*ParseModelConfig(config, "", &warnings), 1)));
}

}  // namespace recurve
