// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_MODEL_WEIGHT_PASS_H_
#define RECURVE_ENGINE_MODEL_WEIGHT_PASS_H_

#include <span>
#include <string>

#include "engine/model/weights.h"

namespace recurve {

// One reading of all weights of a model, tensor by tensor, of which loading has several: tells the
// model's Progress how far it is, in bytes of its files, and gives the memory of those back that
// has been read. So no more of a checkpoint is resident than what is read at the moment, however
// large it is. Thread-compatible.
class WeightPass {
 public:
  // `model` outlives this; of it, `files` and `progress` are used.
  WeightPass(const Model& model, std::string what);

  // The tensor's bytes, or the tensors', have been read.
  void Passed(const Tensor& tensor);
  void Passed(const LayerWeights& layer);
  void Passed(std::span<const std::byte> bytes);

 private:
  const Model& model_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_WEIGHT_PASS_H_
