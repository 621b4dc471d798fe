// SPDX-License-Identifier: Apache-2.0
// What the products in int8 of AVX2 and AVX-512 share: how rows are packed and meet panels. For
// these two files.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_INT8_PASSES_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_INT8_PASSES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/backend/cpu/kernels/fetch_ahead.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"

namespace recurve::products {

inline constexpr uint32_t kQuad = 4;  // inputs that lie side by side
inline constexpr uint32_t kSliceQuads = kInt8SliceInputs / kQuad;
inline constexpr size_t kQuadBytes = size_t{kHalfPanel} * kQuad;  // of half a panel
inline constexpr size_t kHalfBytes = kSliceQuads * kQuadBytes;    // of a slice

// For the exact sums of the products of some rows with one or several panels, which lie
// `panel_bytes` apart.
template <typename Number>
struct Int8Args {
  const std::byte* panel;  // [slices][2][kHalfBytes]
  size_t panel_bytes;
  const int32_t* weight_sums;  // [32]: PackedMatrix::sums
  const Number* x;             // [slices][rows][64]
  uint32_t slices;
  FetchAhead& ahead;
  int32_t* sums;  // [panels][rows][32], aligned to 64 bytes
};

// Products::Panels of n rows and one panel at index n - 1.
template <typename Products, uint32_t... kIndices>
constexpr std::array<void (*)(const Int8Args<typename Products::Number>&), sizeof...(kIndices)>
Int8PanelFunctions(std::integer_sequence<uint32_t, kIndices...> /*indices*/) {
  return {Products::template Panels<kIndices + 1, 1>...};
}

// A block of rows as the instruction set reads them, 64 inputs of each together.
template <typename Products>
void PackInt8Rows(const LinearArgs& args, const Block& block,
                  typename Products::Number* packed /* [slices][rows][64] */) {
  const uint32_t slices = args.weights->padded_inputs() / kInt8SliceInputs;
  for (uint32_t r = 0; r < block.rows; ++r) {
    const int8_t* const x = static_cast<const int8_t*>(args.x) + (block.row + r) * args.x_stride;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      Products::ConvertSlice(x + size_t{slice} * kInt8SliceInputs,
                             packed + (size_t{slice} * block.rows + r) * kInt8SliceInputs);
    }
  }
}

// The whole product by an instruction set's Products: Panels<rows, panels>, of 1 to kMaxRows rows
// and one panel, or one row and kRowPanels, which takes kSliceSteps, or kRowSliceSteps, for each
// slice; and Finish.
template <typename Products>
void LinearInt8InPasses(const LinearArgs& args) {
  using Number = Products::Number;
  constexpr uint32_t kMaxRows = Products::kMaxRows;
  constexpr uint32_t kRowPanels = Products::kRowPanels;
  static constexpr auto kOnePanel =
      Int8PanelFunctions<Products>(std::make_integer_sequence<uint32_t, kMaxRows>());
  static_assert(sizeof(Number) <= sizeof(float));  // of which scratch has as many
  static_assert(kRowPanels <= kMaxRows);           // of sums
  const PackedMatrix& weights = *args.weights;
  const uint32_t slices = weights.padded_inputs() / kInt8SliceInputs;
  alignas(64) int32_t sums[kMaxRows * kPanelOutputs];
  const auto packed = [&](const Block& block) {
    return reinterpret_cast<Number*>(args.scratch) + size_t{block.first} * weights.padded_inputs();
  };
  const auto pack = [&](const Block& block) { PackInt8Rows<Products>(args, block, packed(block)); };
  const auto multiply = [&](const Block& block, uint32_t panel, uint32_t panels,
                            FetchAhead& ahead) {
    const auto multiply_panels =
        panels == 1 ? kOnePanel[block.rows - 1] : Products::template Panels<1, kRowPanels>;
    multiply_panels({.panel = weights.panel(panel),
                     .panel_bytes = weights.panel_bytes(),
                     .weight_sums = weights.sums(panel),
                     .x = packed(block),
                     .slices = slices,
                     .ahead = ahead,
                     .sums = sums});
    for (uint32_t i = 0; i < panels * block.rows; ++i) {
      Products::Finish(args, block.row + i % block.rows, panel + i / block.rows,
                       sums + i * kPanelOutputs);
    }
  };
  const auto steps = [&](const Block& /*block*/, uint32_t panels) {
    return slices * (panels == 1 ? Products::kSliceSteps : Products::kRowSliceSteps);
  };
  MultiplyInBlocks(args, {.rows = kMaxRows, .row_panels = kRowPanels}, pack, steps, multiply);
}

}  // namespace recurve::products

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_INT8_PASSES_H_
