// SPDX-License-Identifier: Apache-2.0
// What the products of AVX2 and AVX-512 share: how rows and panels are taken in turn, and what
// becomes of the sums. For these two files.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PASSES_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PASSES_H_

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"

namespace recurve::avx2 {

inline constexpr uint32_t kHalfElements = kSliceInputs * kHalfPanel;
// How far ahead of their use weights are fetched: about the latency of memory at its bandwidth.
inline constexpr size_t kPrefetchBytes = 4096;

// The products of some rows, as many as the function is for, with one panel.
template <typename Element>
using PanelFunction = void (*)(const Element* panel,  // [slices][2][32 * 16]
                               const float* x,        // [slices][rows][32]
                               uint32_t slices,
                               float* sums);  // [rows][32], aligned to 64 bytes

// Panels that rows of several passes take are taken in bands of about this size, half of the
// second-level cache, so that they stay there for all passes.
inline size_t BandBytes() {
  static const size_t bytes = [] {
    const int64_t cache = sysconf(_SC_LEVEL2_CACHE_SIZE);  // 0 or less where it is not known
    return static_cast<size_t>(std::max<int64_t>(cache / 2, 256 << 10));
  }();
  return bytes;
}

// Widens rows [begin, begin + rows) of x, 32 inputs of each together, so that every input of a
// slice lies at a constant distance from the first.
template <typename Element>
void PackRows(const LinearArgs& args, uint32_t begin, uint32_t rows,
              float* packed /* [slices][rows][32] */) {
  const uint32_t slices = args.weights->padded_inputs() / kSliceInputs;
  for (uint32_t r = 0; r < rows; ++r) {
    const Element* x = static_cast<const Element*>(args.x) + (begin + r) * args.x_stride;
    float* out = packed + r * kSliceInputs;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      for (uint32_t k = 0; k < kSliceInputs; ++k) out[k] = Widen(x[k]);
      x += kSliceInputs;
      out += size_t{rows} * kSliceInputs;
    }
  }
}

// What becomes of the sums of one row and panel.
template <typename Element>
void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const float* sums /* [32] */) {
  if (args.epilogue == Epilogue::kSilu) {
    Element* const y = static_cast<Element*>(args.y) + row * args.y_stride + panel * kHalfPanel;
    for (uint32_t j = 0; j < kHalfPanel; j += 8) {
      const __m256 up = _mm256_load_ps(sums + kHalfPanel + j);
      StoreRounded(_mm256_mul_ps(Silu8(_mm256_load_ps(sums + j)), up), y + j);
    }
    return;
  }
  const uint32_t outputs = std::min(kPanelOutputs, args.weights->outputs() - panel * kPanelOutputs);
  float* const y = static_cast<float*>(args.y) + row * args.y_stride + panel * kPanelOutputs;
  if (args.epilogue == Epilogue::kAdd) {
    for (uint32_t j = 0; j < outputs; ++j) y[j] += sums[j];
  } else {
    std::copy(sums, sums + outputs, y);
  }
}

// Products::Panel of n rows at index n - 1.
template <typename Products, typename Element, uint32_t... kIndices>
constexpr std::array<PanelFunction<Element>, sizeof...(kIndices)> PanelFunctions(
    std::integer_sequence<uint32_t, kIndices...> /*indices*/) {
  return {Products::template Panel<kIndices + 1, Element>...};
}

template <typename Products, typename Element>
void LinearOf(const LinearArgs& args) {
  constexpr uint32_t kMaxRows = Products::kMaxRows;
  static constexpr auto kPanels =
      PanelFunctions<Products, Element>(std::make_integer_sequence<uint32_t, kMaxRows>());
  static_assert(kMaxRows <= kMaxRowsTogether);
  const PackedMatrix& weights = *args.weights;
  const uint32_t slices = weights.padded_inputs() / kSliceInputs;
  const uint32_t passes = (args.rows + kMaxRows - 1) / kMaxRows;
  const size_t panel_bytes = size_t{slices} * 2 * kHalfElements * sizeof(Element);
  const auto per_band = static_cast<uint32_t>(std::max<size_t>(1, BandBytes() / panel_bytes));
  const uint32_t band = passes == 1 ? args.panel_end - args.panel_begin : per_band;
  for (uint32_t first = args.panel_begin; first < args.panel_end; first += band) {
    const uint32_t last = std::min(first + band, args.panel_end);
    for (uint32_t pass = 0; pass < passes; ++pass) {
      // Passes over nearly equal numbers of rows.
      const uint32_t begin = pass * args.rows / passes;
      const uint32_t rows = (pass + 1) * args.rows / passes - begin;
      PackRows<Element>(args, begin, rows, args.scratch);
      for (uint32_t panel = first; panel < last; ++panel) {
        alignas(64) float sums[kMaxRows * kPanelOutputs];
        kPanels[rows - 1](reinterpret_cast<const Element*>(weights.panel(panel)), args.scratch,
                          slices, sums);
        for (uint32_t r = 0; r < rows; ++r) {
          Finish<Element>(args, begin + r, panel, sums + r * kPanelOutputs);
        }
      }
    }
  }
}

// The whole product by an instruction set's Products::Panel<rows, Element>, which are
// PanelFunctions, in passes of 1 to Products::kMaxRows rows.
template <typename Products>
void LinearInPasses(const LinearArgs& args) {
  if (args.weights->precision() == Precision::kBf16) {
    LinearOf<Products, Bf16>(args);
  } else {
    LinearOf<Products, float>(args);
  }
}

}  // namespace recurve::avx2

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PASSES_H_
