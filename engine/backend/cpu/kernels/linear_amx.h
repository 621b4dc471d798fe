// SPDX-License-Identifier: Apache-2.0
// Products in tiles: up to 32 rows by 32 outputs, or 16 by 64, in four registers. For
// linear_amx.cc, and for tests with tiles that any processor has.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "engine/backend/cpu/kernels/amx_tiles.h"
#include "engine/backend/cpu/kernels/fetch_ahead.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"

namespace recurve::amx {

inline constexpr size_t kTileBytes = kTileRows * kTileRowBytes;
// Panels that are multiplied side by side: with 16 rows or fewer four tiles of weights, so that
// four sums do not wait for each other.
inline constexpr uint32_t kGroupPanels = 2;

// Inputs of a slice, whose weights are a tile for each half of a panel: 32 of bf16, 64 of int8.
template <typename Element>
inline constexpr uint32_t kTileInputs = kTileRowBytes / sizeof(Element);

// What a tile's products add up to.
template <typename Element>
using SumOf = std::conditional_t<std::is_same_v<Element, int8_t>, int32_t, float>;

// Copies rows [begin, begin + rows) of x tile by tile: [row / 16][slices][16][64 bytes], rows that
// fill up the last tile 0. What is copied lies close together, whatever the stride of x.
template <typename Element>
void PackTiles(const LinearArgs& args, uint32_t begin, uint32_t rows, std::byte* packed) {
  const uint32_t slices = args.weights->padded_inputs() / kTileInputs<Element>;
  for (uint32_t r = 0; r < RoundUp(rows, kTileRows); ++r) {
    std::byte* out = packed + r / kTileRows * slices * kTileBytes + r % kTileRows * kTileRowBytes;
    for (uint32_t slice = 0; slice < slices; ++slice, out += kTileBytes) {
      if (r < rows) {
        const auto* const x = static_cast<const Element*>(args.x) + (begin + r) * args.x_stride;
        std::memcpy(out, x + slice * kTileInputs<Element>, kTileRowBytes);
      } else {
        std::memset(out, 0, kTileRowBytes);
      }
    }
  }
}

// The sums of one or two tiles of rows and one or two panels.
template <typename Tiles, typename Element>
struct TileProducts {
  using Sum = SumOf<Element>;

  // Two tiles of rows, one panel. Registers: 0 to 3 sums, 4 and 5 weights, 6 rows; few names, so
  // that the processor has others left to rename them to.
  RECURVE_AMX static void TwoByTwo(const std::byte* x /* [2][slices][tile] */,
                                   const std::byte* panel /* [slices][2][tile] */, uint32_t slices,
                                   FetchAhead& ahead, Sum* sums /* [2 * 16][32] */) {
    ZeroSums();
    const std::byte* second = x + slices * kTileBytes;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      ahead.Step();
      Tiles::template Load<4>(panel, kTileRowBytes);
      Tiles::template Load<5>(panel + kTileBytes, kTileRowBytes);
      Tiles::template Load<6>(x, kTileRowBytes);
      Tiles::template Dot<Element, 0, 6, 4>();
      Tiles::template Dot<Element, 1, 6, 5>();
      Tiles::template Load<6>(second, kTileRowBytes);
      Tiles::template Dot<Element, 2, 6, 4>();
      Tiles::template Dot<Element, 3, 6, 5>();
      x += kTileBytes;
      second += kTileBytes;
      panel += 2 * kTileBytes;
    }
    StorePair<0, 1>(sums);
    StorePair<2, 3>(sums + kTileRows * kPanelOutputs);
  }

  // One tile of rows, kPanels panels, which lie `panel_bytes` apart.
  template <uint32_t kPanels>
  RECURVE_AMX static void OneBy(const std::byte* x /* [slices][tile] */, const std::byte* panel,
                                size_t panel_bytes, uint32_t slices, FetchAhead& ahead,
                                Sum* sums /* [kPanels][16][32] */) {
    ZeroSums();
    const std::byte* second = panel + panel_bytes;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      ahead.Step();
      Tiles::template Load<6>(x, kTileRowBytes);
      Tiles::template Load<4>(panel, kTileRowBytes);
      Tiles::template Dot<Element, 0, 6, 4>();
      Tiles::template Load<5>(panel + kTileBytes, kTileRowBytes);
      Tiles::template Dot<Element, 1, 6, 5>();
      if constexpr (kPanels == 2) {
        Tiles::template Load<4>(second, kTileRowBytes);
        Tiles::template Dot<Element, 2, 6, 4>();
        Tiles::template Load<5>(second + kTileBytes, kTileRowBytes);
        Tiles::template Dot<Element, 3, 6, 5>();
        second += 2 * kTileBytes;
      }
      x += kTileBytes;
      panel += 2 * kTileBytes;
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
  RECURVE_AMX static void StorePair(Sum* sums /* [16][32] */) {
    Tiles::template Store<kFirst>(sums, kPanelOutputs * sizeof(Sum));
    Tiles::template Store<kSecond>(sums + kHalfPanel, kPanelOutputs * sizeof(Sum));
  }
};

// What becomes of a row's sums, in AVX2.
struct Avx2Ends {
  static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const float* sums) {
    products::Finish<Bf16>(args, row, panel, sums);
  }
  static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const int32_t* sums) {
    products::FinishInt8(args, row, panel, sums);
  }
};

// Rows [begin, begin + rows), packed, with panels [panel, panel + panels), at most kGroupPanels.
template <typename Tiles, typename Ends, typename Element>
void MultiplyGroup(const LinearArgs& args, uint32_t begin, uint32_t rows, const std::byte* packed,
                   uint32_t panel, uint32_t panels, FetchAhead& ahead) {
  using Products = TileProducts<Tiles, Element>;
  using Sum = SumOf<Element>;
  const uint32_t slices = args.weights->padded_inputs() / kTileInputs<Element>;
  const size_t panel_bytes = args.weights->panel_bytes();
  const std::byte* const weights = args.weights->panel(panel);
  alignas(64) Sum sums[kGroupPanels * kTileRows * kPanelOutputs];
  const auto finish = [&](uint32_t first, uint32_t count, uint32_t of_panel, const Sum* from) {
    for (uint32_t r = 0; r < count; ++r) {
      Ends::Finish(args, begin + first + r, of_panel, from + r * kPanelOutputs);
    }
  };
  uint32_t row = 0;
  for (; row + kTileRows < rows; row += 2 * kTileRows) {
    for (uint32_t p = 0; p < panels; ++p) {
      Products::TwoByTwo(packed + size_t{row} * slices * kTileRowBytes, weights + p * panel_bytes,
                         slices, ahead, sums);
      finish(row, std::min(2 * kTileRows, rows - row), panel + p, sums);
    }
  }
  if (row >= rows) return;
  const std::byte* const last = packed + size_t{row} * slices * kTileRowBytes;
  if (panels == 2) {
    Products::template OneBy<2>(last, weights, panel_bytes, slices, ahead, sums);
  } else {
    Products::template OneBy<1>(last, weights, panel_bytes, slices, ahead, sums);
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

// The whole product with weights of Element: Bf16 or int8_t.
template <typename Tiles, typename Ends, typename Element>
void LinearInTiles(const LinearArgs& args) {
  const typename Tiles::Scope scope;
  const uint32_t slices = args.weights->padded_inputs() / kTileInputs<Element>;
  auto* const packed = reinterpret_cast<std::byte*>(args.scratch);
  const products::Passes passes(args, kMaxTileRows);
  passes.ForEach([&](const products::Passes::Pass& pass) {
    PackTiles<Element>(args, pass.row, pass.rows, packed);
    for (uint32_t panel = pass.panel_begin; panel < pass.panel_end; panel += kGroupPanels) {
      const uint32_t panels = std::min(kGroupPanels, pass.panel_end - panel);
      const uint32_t steps = CallsOfGroup(pass.rows, panels) * slices;
      FetchAhead ahead = passes.Ahead(pass, panel + panels, kGroupPanels, steps);
      MultiplyGroup<Tiles, Ends, Element>(args, pass.row, pass.rows, packed, panel, panels, ahead);
    }
  });
}

}  // namespace recurve::amx

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_
