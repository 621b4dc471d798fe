// SPDX-License-Identifier: Apache-2.0
// Which tensors a model has: their names in a checkpoint, their shapes and their places in Weights.
#ifndef RECURVE_ENGINE_MODEL_TENSOR_LAYOUT_H_
#define RECURVE_ENGINE_MODEL_TENSOR_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/config.h"
#include "engine/model/weights.h"

namespace recurve {

// What a tensor does, as far as the scale of random weights depends on it.
enum class TensorRole {
  kEmbedding,
  kNorm,
  kInner,        // reads normalized rows: q, k, v, gate, up
  kResidual,     // writes to the residual stream: o, down
  kRouterIn,     // reads the raw residual stream
  kRouterInner,  // second matrix of an mlp router
  kRouterBias,
  kHead,
};

struct TensorSlot {
  std::string name;  // where the checkpoint stores it
  // Names under which checkpoints may hold it again: the other places of a shared weight.
  std::vector<std::string> duplicates;
  std::vector<uint64_t> shape;  // one or two sizes
  TensorRole role;
  Tensor* tensor;  // in the Weights that LayOutTensors was given
};

// Gives `weights` the vectors that `config` asks for and lists every tensor of the model but a tied
// lm_head, which is the embedding's duplicate. Slots point into `weights`.
std::vector<TensorSlot> LayOutTensors(const ModelConfig& config, Weights* weights);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_TENSOR_LAYOUT_H_
