// SPDX-License-Identifier: Apache-2.0
#include "engine/model/weights.h"

namespace recurve {

size_t ElementSize(DataType type) {
  switch (type) {
    case DataType::kF64:
      return 8;
    case DataType::kF32:
      return 4;
    case DataType::kF16:
    case DataType::kBf16:
      return 2;
  }
  return 0;
}

std::vector<Tensor> TensorsOf(const LayerWeights& layer) {
  std::vector<Tensor> tensors = {layer.input_norm, layer.post_attention_norm, layer.gate, layer.up,
                                 layer.down};
  for (const AttentionWeights& attention : layer.attention) {
    tensors.insert(tensors.end(), {attention.q, attention.k, attention.v, attention.o});
  }
  std::erase_if(tensors, [](const Tensor& tensor) { return tensor.data == nullptr; });
  return tensors;
}

}  // namespace recurve
