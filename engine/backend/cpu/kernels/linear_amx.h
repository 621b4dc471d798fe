// SPDX-License-Identifier: Apache-2.0
// Products in tiles: up to 32 rows by 32 outputs, or 16 by 64, in four registers. For
// linear_amx.cc, and for tests with tiles that any processor has.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_

#include <algorithm>
#include <cstring>

#include "engine/backend/cpu/kernels/amx_tiles.h"
#include "engine/backend/cpu/kernels/fetch_ahead.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"

namespace recurve::amx {

inline constexpr size_t kTileElements = kTileRows * kSliceInputs;  // of a tile of bf16
// Panels that are multiplied side by side: with 16 rows or fewer four tiles of weights, so that
// four sums do not wait for each other.
inline constexpr uint32_t kGroupPanels = 2;

// Copies rows [begin, begin + rows) of x tile by tile: [row / 16][slices][16][32], rows that fill
// up the last tile 0. What is copied lies close together, whatever the stride of x.
inline void PackTiles(const LinearArgs& args, uint32_t begin, uint32_t rows, Bf16* packed) {
  const uint32_t slices = args.weights->padded_inputs() / kSliceInputs;
  for (uint32_t r = 0; r < RoundUp(rows, kTileRows); ++r) {
    Bf16* out = packed + r / kTileRows * slices * kTileElements + r % kTileRows * kSliceInputs;
    for (uint32_t slice = 0; slice < slices; ++slice, out += kTileElements) {
      if (r < rows) {
        const auto* const x = static_cast<const Bf16*>(args.x) + (begin + r) * args.x_stride;
        std::memcpy(out, x + slice * kSliceInputs, kTileRowBytes);
      } else {
        std::memset(out, 0, kTileRowBytes);
      }
    }
  }
}

// The sums of one or two tiles of rows and one or two panels.
template <typename Tiles>
struct TileProducts {
  // Two tiles of rows, one panel. Registers: 0 to 3 sums, 4 and 5 weights, 6 rows; few names, so
  // that the processor has others left to rename them to.
  RECURVE_AMX static void TwoByTwo(const Bf16* x /* [2][slices][16][32] */,
                                   const Bf16* panel /* [slices][2][16][16][2] */, uint32_t slices,
                                   FetchAhead& ahead, float* sums /* [2 * 16][32] */) {
    ZeroSums();
    const Bf16* second = x + slices * kTileElements;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      ahead.Step();
      Tiles::template Load<4>(panel, kTileRowBytes);
      Tiles::template Load<5>(panel + kTileElements, kTileRowBytes);
      Tiles::template Load<6>(x, kTileRowBytes);
      Tiles::template Dot<0, 6, 4>();
      Tiles::template Dot<1, 6, 5>();
      Tiles::template Load<6>(second, kTileRowBytes);
      Tiles::template Dot<2, 6, 4>();
      Tiles::template Dot<3, 6, 5>();
      x += kTileElements;
      second += kTileElements;
      panel += 2 * kTileElements;
    }
    StorePair<0, 1>(sums);
    StorePair<2, 3>(sums + kTileRows * kPanelOutputs);
  }

  // One tile of rows, kPanels panels, which lie `panel_elements` apart.
  template <uint32_t kPanels>
  RECURVE_AMX static void OneBy(const Bf16* x /* [slices][16][32] */, const Bf16* panel,
                                size_t panel_elements, uint32_t slices, FetchAhead& ahead,
                                float* sums /* [kPanels][16][32] */) {
    ZeroSums();
    const Bf16* second = panel + panel_elements;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      ahead.Step();
      Tiles::template Load<6>(x, kTileRowBytes);
      Tiles::template Load<4>(panel, kTileRowBytes);
      Tiles::template Dot<0, 6, 4>();
      Tiles::template Load<5>(panel + kTileElements, kTileRowBytes);
      Tiles::template Dot<1, 6, 5>();
      if constexpr (kPanels == 2) {
        Tiles::template Load<4>(second, kTileRowBytes);
        Tiles::template Dot<2, 6, 4>();
        Tiles::template Load<5>(second + kTileElements, kTileRowBytes);
        Tiles::template Dot<3, 6, 5>();
        second += 2 * kTileElements;
      }
      x += kTileElements;
      panel += 2 * kTileElements;
    }
    StorePair<0, 1>(sums);
    if constexpr (kPanels == 2) StorePair<2, 3>(sums + kTileRows * kPanelOutputs);
  }

 private:
  RECURVE_AMX static void ZeroSums() {
    Tiles::template Zero<0>();
    Tiles::template Zero<1>();
    Tiles::template Zero<2>();
    Tiles::template Zero<3>();
  }
  // Both halves of a panel beside each other.
  template <int kFirst, int kSecond>
  RECURVE_AMX static void StorePair(float* sums /* [16][32] */) {
    Tiles::template Store<kFirst>(sums, kPanelOutputs * sizeof(float));
    Tiles::template Store<kSecond>(sums + kHalfPanel, kPanelOutputs * sizeof(float));
  }
};

// Rows [begin, begin + rows), packed, with panels [panel, panel + panels), at most kGroupPanels.
template <typename Tiles>
void MultiplyGroup(const LinearArgs& args, uint32_t begin, uint32_t rows, const Bf16* packed,
                   uint32_t panel, uint32_t panels, FetchAhead& ahead) {
  using Products = TileProducts<Tiles>;
  const uint32_t slices = args.weights->padded_inputs() / kSliceInputs;
  const size_t panel_elements = size_t{slices} * 2 * kTileElements;
  const auto* const weights = reinterpret_cast<const Bf16*>(args.weights->panel(panel));
  alignas(64) float sums[kGroupPanels * kTileRows * kPanelOutputs];
  const auto finish = [&](uint32_t first, uint32_t count, uint32_t of_panel, const float* from) {
    for (uint32_t r = 0; r < count; ++r) {
      products::Finish<Bf16>(args, begin + first + r, of_panel, from + r * kPanelOutputs);
    }
  };
  uint32_t row = 0;
  for (; row + kTileRows < rows; row += 2 * kTileRows) {
    for (uint32_t p = 0; p < panels; ++p) {
      Products::TwoByTwo(packed + size_t{row} * slices * kSliceInputs, weights + p * panel_elements,
                         slices, ahead, sums);
      finish(row, std::min(2 * kTileRows, rows - row), panel + p, sums);
    }
  }
  if (row >= rows) return;
  const Bf16* const last = packed + size_t{row} * slices * kSliceInputs;
  if (panels == 2) {
    Products::template OneBy<2>(last, weights, panel_elements, slices, ahead, sums);
  } else {
    Products::template OneBy<1>(last, weights, panel_elements, slices, ahead, sums);
  }
  for (uint32_t p = 0; p < panels; ++p) {
    finish(row, rows - row, panel + p, sums + p * kTileRows * kPanelOutputs);
  }
}

// Calls of TileProducts for a group, each of which takes all slices.
inline uint32_t CallsOfGroup(uint32_t rows, uint32_t panels) {
  const uint32_t tiles = (rows + kTileRows - 1) / kTileRows;
  return tiles / 2 * panels + tiles % 2;
}

// The whole product with weights in bf16.
template <typename Tiles>
void LinearInTiles(const LinearArgs& args) {
  const typename Tiles::Scope scope;
  const PackedMatrix& weights = *args.weights;
  const uint32_t slices = weights.padded_inputs() / kSliceInputs;
  auto* const packed = reinterpret_cast<Bf16*>(args.scratch);
  const products::Passes passes(args, kMaxTileRows);
  passes.ForEach([&](const products::Passes::Pass& pass) {
    PackTiles(args, pass.row, pass.rows, packed);
    for (uint32_t panel = pass.panel_begin; panel < pass.panel_end; panel += kGroupPanels) {
      const uint32_t panels = std::min(kGroupPanels, pass.panel_end - panel);
      const uint32_t steps = CallsOfGroup(pass.rows, panels) * slices;
      FetchAhead ahead = passes.Ahead(pass, panel + panels, kGroupPanels, steps);
      MultiplyGroup<Tiles>(args, pass.row, pass.rows, packed, panel, panels, ahead);
    }
  });
}

}  // namespace recurve::amx

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_
