// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/kv_layout.h"

#include <algorithm>
#include <limits>

#include "engine/backend/cuda/tensor_core.h"
#include "engine/backend/model_shape.h"

namespace recurve::cuda {

KvLayout LayoutOf(const ModelConfig& config, Precision precision) {
  KvLayout layout;
  layout.kv_heads = config.num_kv_heads;
  layout.head_dim = config.head_dim;
  layout.stride =
      precision == Precision::kBf16 ? StepsOf(config.head_dim) * kStepInputs : config.head_dim;
  layout.page_capacity = kTileEntries * PageTiles(config);
  layout.page_elements = size_t{2} * config.num_kv_heads * layout.stride * layout.page_capacity;
  for (uint32_t group = 0; group < kMaxGroups; ++group) {
    layout.layers[group] = GroupLayers(config, group);
  }
  return layout;
}

uint32_t MostPages(const KvLayout& layout, Precision precision) {
  constexpr uint64_t kWords = std::numeric_limits<uint32_t>::max();
  if (precision != Precision::kBf16) return kWords;
  return static_cast<uint32_t>(std::min(kWords, (kWords + 1) * kStepInputs / layout.page_elements));
}

KvLayout WordsOf(const KvLayout& layout, Precision precision) {
  const auto elements = static_cast<uint32_t>(sizeof(uint32_t) / ElementSize(precision));
  KvLayout words = layout;
  words.stride /= elements;
  words.page_elements /= elements;
  return words;
}

}  // namespace recurve::cuda
