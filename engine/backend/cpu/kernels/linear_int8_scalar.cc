// SPDX-License-Identifier: Apache-2.0
// Products in int8 in plain loops: the definition that the other instruction sets are tested
// against.
#include <algorithm>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

// One row times one output of a panel.
float Product(const LinearArgs& args, uint32_t row, uint32_t panel, uint32_t output) {
  const PackedMatrix& weights = *args.weights;
  const auto* const x = static_cast<const int8_t*>(args.x) + row * args.x_stride;
  const auto* half = reinterpret_cast<const int8_t*>(weights.panel(panel)) +
                     size_t{output / kHalfPanel} * kInt8SliceInputs * kHalfPanel;
  int32_t sum = 0;
  for (uint32_t k = 0; k < weights.padded_inputs(); ++k) {
    const uint32_t in_slice = k % kInt8SliceInputs;
    sum += x[k] * half[(in_slice / 4 * kHalfPanel + output % kHalfPanel) * 4 + in_slice % 4];
    if (in_slice + 1 == kInt8SliceInputs) half += size_t{2} * kInt8SliceInputs * kHalfPanel;
  }
  return Int8Product(sum, args.x_scales[row], weights.scales(panel)[output]);
}

}  // namespace

void LinearInt8(const LinearArgs& args) {
  for (uint32_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    const uint32_t outputs =
        std::min(kPanelOutputs, args.weights->outputs() - panel * kPanelOutputs);
    for (uint32_t row = 0; row < args.rows; ++row) {
      float* const y = static_cast<float*>(args.y) + row * args.y_stride;
      if (args.epilogue == Epilogue::kSilu) {
        for (uint32_t j = 0; j < kHalfPanel; ++j) {
          const float gate = Product(args, row, panel, j);
          y[panel * kHalfPanel + j] = Silu(gate) * Product(args, row, panel, kHalfPanel + j);
        }
        continue;
      }
      for (uint32_t j = 0; j < outputs; ++j) {
        float& out = y[panel * kPanelOutputs + j];
        const float product = Product(args, row, panel, j);
        out = args.epilogue == Epilogue::kAdd ? out + product : product;
      }
    }
  }
}

}  // namespace recurve::scalar
