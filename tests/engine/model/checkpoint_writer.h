// SPDX-License-Identifier: Apache-2.0
// Writes model files for tests: safetensors bytes from parts, and directories that vanish.
#ifndef RECURVE_TESTS_ENGINE_MODEL_CHECKPOINT_WRITER_H_
#define RECURVE_TESTS_ENGINE_MODEL_CHECKPOINT_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/config.h"
#include "tests/scoped_directory.h"

namespace recurve {

// A tensor to write: its dtype as the format spells it, and its bytes.
struct WrittenTensor {
  std::string dtype;
  std::vector<uint64_t> shape;
  std::string data;
};
using WrittenTensors = std::map<std::string, WrittenTensor>;

// The file that a header and its data make.
std::string SafetensorsFile(std::string_view header, std::string_view data);

// A well-formed file of these tensors.
std::string SafetensorsFile(const WrittenTensors& tensors);

inline std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The tensors of RandomModel(config, kF32, seed) under the names where a checkpoint stores them.
WrittenTensors RandomTensors(const ModelConfig& config, uint64_t seed);

// Writes a small random model with a vocabulary of 258 and no tokenizer.
void WriteSmallModel(const ScopedDirectory& directory);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_MODEL_CHECKPOINT_WRITER_H_
