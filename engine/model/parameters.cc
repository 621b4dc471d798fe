// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameters.h"

namespace recurve {
namespace {

uint64_t Elements(const Tensor& tensor) {
  return tensor.data == nullptr ? 0 : uint64_t{tensor.rows} * tensor.columns;
}

uint64_t Elements(const LayerWeights& layer) {
  uint64_t elements = 0;
  for (const Tensor& tensor : TensorsOf(layer)) elements += Elements(tensor);
  return elements;
}

}  // namespace

uint64_t CountParameters(const Model& model) {
  const Weights& weights = model.weights;
  uint64_t elements =
      Elements(weights.embedding) + Elements(weights.final_norm) + Elements(weights.router_bias);
  if (!model.config.tie_word_embeddings) elements += Elements(weights.lm_head);
  for (const auto* layers : {&weights.entry, &weights.block, &weights.exit}) {
    for (const LayerWeights& layer : *layers) elements += Elements(layer);
  }
  for (const auto* routers : {&weights.routers, &weights.aux_routers}) {
    for (const RouterWeights& router : *routers) {
      elements += Elements(router.hidden) + Elements(router.out);
    }
  }
  return elements;
}

}  // namespace recurve
