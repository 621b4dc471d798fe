// SPDX-License-Identifier: Apache-2.0
// Products in plain loops: the definition that the other instruction sets are tested against.
#include <algorithm>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

// Where the weight of input `k` of a block and output `column` of a half lies in the half.
size_t HalfIndex(uint32_t k, uint32_t column, Bf16 /*of*/) {
  return (size_t{k / 2} * kHalfBlock + column) * 2 + k % 2;
}
size_t HalfIndex(uint32_t k, uint32_t column, float /*of*/) {
  return size_t{k} * kHalfBlock + column;
}

// One row times one output of a group.
template <typename Element>
float Product(const Element* group,  // [blocks][2][32 * 16]
              const Element* x,      // [blocks * 32]
              uint32_t blocks, uint32_t output) {
  const Element* half = group + size_t{output / kHalfBlock} * kBlockSize * kHalfBlock;
  const uint32_t column = output % kHalfBlock;
  float sum = 0.0F;
  for (uint32_t block = 0; block < blocks; ++block) {
    sum += PairSum(
        kBlockSize, [x](uint32_t k) { return Widen(x[k]); },
        [half, column](uint32_t k) { return Widen(half[HalfIndex(k, column, Element{})]); });
    x += kBlockSize;
    half += size_t{2} * kBlockSize * kHalfBlock;
  }
  return sum;
}

template <typename Element>
void LinearOf(const LinearArgs& args) {
  const PackedMatrix& weights = *args.weights;
  const uint32_t blocks = weights.padded_inputs() / kBlockSize;
  for (uint32_t g = args.group_begin; g < args.group_end; ++g) {
    const auto* const group = reinterpret_cast<const Element*>(weights.group(g));
    const uint32_t outputs = std::min(kBlockSize, weights.outputs() - g * kBlockSize);
    for (uint32_t row = 0; row < args.rows; ++row) {
      const Element* const x = static_cast<const Element*>(args.x) + row * args.x_stride;
      if (args.epilogue == Epilogue::kSilu) {
        Element* const y = static_cast<Element*>(args.y) + row * args.y_stride + g * kHalfBlock;
        for (uint32_t j = 0; j < kHalfBlock; ++j) {
          const float gate = Product(group, x, blocks, j);
          const float up = Product(group, x, blocks, kHalfBlock + j);
          StoreRounded(Silu(gate) * up, &y[j]);
        }
        continue;
      }
      float* const y = static_cast<float*>(args.y) + row * args.y_stride + g * kBlockSize;
      for (uint32_t j = 0; j < outputs; ++j) {
        const float product = Product(group, x, blocks, j);
        y[j] = args.epilogue == Epilogue::kAdd ? y[j] + product : product;
      }
    }
  }
}

}  // namespace

void Linear(const LinearArgs& args) {
  if (args.weights->precision() == Precision::kBf16) {
    LinearOf<Bf16>(args);
  } else {
    LinearOf<float>(args);
  }
}

}  // namespace recurve::scalar
