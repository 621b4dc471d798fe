// SPDX-License-Identifier: Apache-2.0
// The weights of a model by their place in the forward pass. Tensors are views of memory that the
// owner keeps: a mapped checkpoint or a random model.
#ifndef RECURVE_ENGINE_MODEL_WEIGHTS_H_
#define RECURVE_ENGINE_MODEL_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/config.h"

namespace recurve {

class MappedFile;
class Progress;

// kF64: of stored tensors that no model uses.
enum class DataType { kF32, kF16, kBf16, kF64 };

// Bytes of one element.
size_t ElementSize(DataType type);

// A row-major matrix [rows][columns]; a vector is one row. Not aligned beyond its element's size.
struct Tensor {
  DataType type = DataType::kF32;
  uint32_t rows = 0;
  uint32_t columns = 0;
  const std::byte* data = nullptr;  // [rows][columns]; null: the tensor does not exist

  std::span<const std::byte> bytes() const {
    return {data, data == nullptr ? 0 : size_t{rows} * columns * ElementSize(type)};
  }
};

struct AttentionWeights {
  Tensor q;  // [num_heads * head_dim][hidden]
  Tensor k;  // [num_kv_heads * head_dim][hidden]
  Tensor v;  // [num_kv_heads * head_dim][hidden]
  Tensor o;  // [hidden][num_heads * head_dim]
};

// One distinct layer.
struct LayerWeights {
  Tensor input_norm;  // [hidden]
  // One set, or one for each recursion (ModelConfig::per_recursion_attention).
  std::vector<AttentionWeights> attention;
  Tensor post_attention_norm;  // [hidden]
  Tensor gate;                 // [intermediate][hidden]
  Tensor up;                   // [intermediate][hidden]
  Tensor down;                 // [hidden][intermediate]
};

// All of them that exist.
std::vector<Tensor> TensorsOf(const LayerWeights& layer);

// linear: `out` alone, [outputs][hidden]. mlp: `hidden` [2 * hidden][hidden], then `out`
// [outputs][2 * hidden].
struct RouterWeights {
  Tensor hidden;
  Tensor out;
};

struct Weights {
  Tensor embedding;                        // [vocab][hidden]
  std::vector<LayerWeights> entry;         // none or one
  std::vector<LayerWeights> block;         // [block_layers()]
  std::vector<LayerWeights> exit;          // none or one
  Tensor final_norm;                       // [hidden]
  Tensor lm_head;                          // [vocab][hidden]; the embedding itself when tied
  std::vector<RouterWeights> routers;      // expert-choice: one a recursion; token-choice: one
  std::vector<RouterWeights> aux_routers;  // expert-choice with aux_router: one a recursion
  Tensor router_bias;                      // token-choice with loss_free balancing: [recursions]
};

// A model ready to hand to a backend: configuration, weights, and what keeps their memory alive.
// Immutable after construction; thread-safe.
struct Model {
  ModelConfig config;
  Weights weights;
  std::vector<std::shared_ptr<const MappedFile>> files;  // a checkpoint's
  std::shared_ptr<const void> memory;                    // a random model's
  std::shared_ptr<Progress> progress;  // of readings of all weights (WeightPass); may be null
  std::vector<std::string> warnings;   // what loading ignored, a line each
};

// Loads a model directory: config.json, generation_config.json (optional) and model.safetensors, or
// the shards that model.safetensors.index.json names. The weights stay in the mapped files. Errors
// name the file and the field or tensor, what was expected and what was found. `progress`: becomes
// the model's, and is told of the first reading.
absl::StatusOr<Model> LoadModel(const std::string& directory,
                                std::shared_ptr<Progress> progress = nullptr);

// A model of `config` with random weights in `type`, drawn so that activations keep their scale;
// the same bits for the same config and seed everywhere, however many `threads` draw them. For
// benchmarks and tests.
Model RandomModel(const ModelConfig& config, DataType type, uint64_t seed, uint32_t threads = 1);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_WEIGHTS_H_
