// SPDX-License-Identifier: Apache-2.0
// Products in plain loops: the definition that the other instruction sets are tested against.
#include <algorithm>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

// Where the weight of input `k` of a slice and output `column` of a half lies in the half.
size_t HalfIndex(uint32_t k, uint32_t column, Bf16 /*of*/) {
  return (size_t{k / 2} * kHalfPanel + column) * 2 + k % 2;
}
size_t HalfIndex(uint32_t k, uint32_t column, float /*of*/) {
  return size_t{k} * kHalfPanel + column;
}

// One row times one output of a panel.
template <typename Element>
float Product(const Element* panel,  // [slices][2][32 * 16]
              const Element* x,      // [slices * 32]
              uint32_t slices, uint32_t output) {
  const Element* half = panel + size_t{output / kHalfPanel} * kSliceInputs * kHalfPanel;
  const uint32_t column = output % kHalfPanel;
  float sum = 0.0F;
  for (uint32_t slice = 0; slice < slices; ++slice) {
    sum += PairSum(
        kSliceInputs, [x](uint32_t k) { return Widen(x[k]); },
        [half, column](uint32_t k) { return Widen(half[HalfIndex(k, column, Element{})]); });
    x += kSliceInputs;
    half += size_t{2} * kSliceInputs * kHalfPanel;
  }
  return sum;
}

template <typename Element>
void LinearOf(const LinearArgs& args) {
  const PackedMatrix& weights = *args.weights;
  const uint32_t slices = weights.padded_inputs() / kSliceInputs;
  for (uint32_t index = args.panel_begin; index < args.panel_end; ++index) {
    const auto* const panel = reinterpret_cast<const Element*>(weights.panel(index));
    const uint32_t outputs = std::min(kPanelOutputs, weights.outputs() - index * kPanelOutputs);
    for (uint32_t row = 0; row < args.rows; ++row) {
      const Element* const x = static_cast<const Element*>(args.x) + row * args.x_stride;
      if (args.epilogue == Epilogue::kSilu) {
        Element* const y = static_cast<Element*>(args.y) + row * args.y_stride + index * kHalfPanel;
        for (uint32_t j = 0; j < kHalfPanel; ++j) {
          const float gate = Product(panel, x, slices, j);
          const float up = Product(panel, x, slices, kHalfPanel + j);
          StoreRounded(Silu(gate) * up, &y[j]);
        }
        continue;
      }
      float* const y = static_cast<float*>(args.y) + row * args.y_stride + index * kPanelOutputs;
      for (uint32_t j = 0; j < outputs; ++j) {
        const float product = Product(panel, x, slices, j);
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
