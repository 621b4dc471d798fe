// SPDX-License-Identifier: Apache-2.0
// What the products in int8 of AVX2 and AVX-512 share: how rows and panels are taken in turn, and
// what becomes of the sums. For these two files.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_INT8_PASSES_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_INT8_PASSES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"

namespace recurve::avx2 {

inline constexpr uint32_t kQuad = 4;  // inputs that lie side by side
inline constexpr uint32_t kSliceQuads = kInt8SliceInputs / kQuad;
inline constexpr size_t kQuadBytes = size_t{kHalfPanel} * kQuad;  // of half a panel
inline constexpr size_t kHalfBytes = kSliceQuads * kQuadBytes;    // of a slice

// The exact sums of the products of some rows, as many as the function is for, with one panel.
template <typename Number>
using Int8PanelFunction = void (*)(const std::byte* panel,  // [slices][2][kHalfBytes]
                                   const Number* x,         // [slices * 16][rows][4]
                                   uint32_t slices,
                                   const int32_t* weight_sums,  // [32]: PackedMatrix::sums
                                   int32_t* sums);              // [rows][32], aligned to 64 bytes

// Lines of 64 bytes of a panel.
constexpr size_t PanelLines(uint32_t slices) { return size_t{slices} * 2 * kSliceQuads; }

// Fetches one line of the panel after `panel`, from each of four places in turn, since one stream
// of addresses does not get all that the memory has. To be called for each line from 0 on while
// `panel` is multiplied. Past the end of the matrix it has no effect.
inline void PrefetchNextPanel(const std::byte* panel, uint32_t slices, size_t line) {
  constexpr size_t kPlaces = 4;
  const size_t lines = PanelLines(slices);
  const size_t at = lines + line % kPlaces * (lines / kPlaces) + line / kPlaces;
  _mm_prefetch(reinterpret_cast<const char*>(panel) + at * 64, _MM_HINT_T1);
}

// What becomes of the sums of one row and panel.
inline void FinishInt8(const LinearArgs& args, uint32_t row, uint32_t panel, const int32_t* sums) {
  const __m256 input_scale = _mm256_set1_ps(args.x_scales[row]);
  const float* const scales = args.weights->scales(panel);
  alignas(32) float scaled[kPanelOutputs];
  for (uint32_t j = 0; j < kPanelOutputs; j += 8) {
    const __m256i sum = _mm256_load_si256(reinterpret_cast<const __m256i*>(sums + j));
    const __m256 of_inputs = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), input_scale);
    _mm256_store_ps(scaled + j, _mm256_mul_ps(of_inputs, _mm256_load_ps(scales + j)));
  }
  // Of floats, which is what all epilogues leave here.
  products::Finish<float>(args, row, panel, scaled);
}

// Products::Panel of n rows at index n - 1.
template <typename Products, uint32_t... kIndices>
constexpr std::array<Int8PanelFunction<typename Products::Number>, sizeof...(kIndices)>
Int8PanelFunctions(std::integer_sequence<uint32_t, kIndices...> /*indices*/) {
  return {Products::template Panel<kIndices + 1>...};
}

// Rows [begin, begin + rows) of x as the instruction set reads them, a quad of each together.
template <typename Products>
void PackInt8Rows(const LinearArgs& args, uint32_t begin, uint32_t rows,
                  typename Products::Number* packed /* [quads][rows][4] */) {
  const uint32_t quads = args.weights->padded_inputs() / kQuad;
  for (uint32_t r = 0; r < rows; ++r) {
    const int8_t* const x = static_cast<const int8_t*>(args.x) + (begin + r) * args.x_stride;
    for (uint32_t quad = 0; quad < quads; ++quad) {
      Products::Convert(x + size_t{quad} * kQuad, packed + (size_t{quad} * rows + r) * kQuad);
    }
  }
}

// The whole product by an instruction set's Products::Panel<rows>, which are Int8PanelFunctions, in
// passes of 1 to Products::kMaxRows rows.
template <typename Products>
void LinearInt8InPasses(const LinearArgs& args) {
  using Number = Products::Number;
  constexpr uint32_t kMaxRows = Products::kMaxRows;
  static constexpr auto kPanels =
      Int8PanelFunctions<Products>(std::make_integer_sequence<uint32_t, kMaxRows>());
  static_assert(sizeof(Number) <= sizeof(float));  // of which scratch has as many
  const PackedMatrix& weights = *args.weights;
  auto* const packed = reinterpret_cast<Number*>(args.scratch);
  const uint32_t slices = weights.padded_inputs() / kInt8SliceInputs;
  const products::Passes passes(args, kMaxRows, slices * 2 * kHalfBytes);
  alignas(64) int32_t sums[kMaxRows * kPanelOutputs];
  passes.ForEach([&](const products::Passes::Pass& pass) {
    PackInt8Rows<Products>(args, pass.row, pass.rows, packed);
    for (uint32_t panel = pass.panel_begin; panel < pass.panel_end; ++panel) {
      kPanels[pass.rows - 1](weights.panel(panel), packed, slices, weights.sums(panel), sums);
      for (uint32_t r = 0; r < pass.rows; ++r) {
        FinishInt8(args, pass.row + r, panel, sums + r * kPanelOutputs);
      }
    }
  });
}

}  // namespace recurve::avx2

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_INT8_PASSES_H_
