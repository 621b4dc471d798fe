// SPDX-License-Identifier: Apache-2.0
// Products in tiles: 16 rows by 64 outputs, or more rows in whichever of several blockings is the
// fastest. For linear_amx.cc, and for tests with tiles that any processor has.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/backend/cpu/kernels/amx_tiles.h"
#include "engine/backend/cpu/kernels/blocking_choice.h"
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

// What registers hold the sums of: some tiles of rows by one half of a panel or both. With equal
// bits, since each sum has its own chain. On a quiet core the first is the fastest, which loads the
// fewest tiles; beside a busy neighbour those with few names, which leave the processor others to
// rename them to (measured on Sapphire Rapids: 10 and 7 ns a product of two tiles for two by two
// and three by one, 22 to 35 and 16 to 19 beside a neighbour).
struct TileBlocking {
  uint32_t tiles;   // of rows, at most
  uint32_t halves;  // of a panel
};
inline constexpr TileBlocking kTileBlockings[BlockingChoice::kBlockings] = {
    {2, 2}, {3, 1}, {2, 1}, {4, 1}};
inline constexpr uint32_t kMaxBlockTiles = 4;
static_assert(kMaxTileRows == BlockingChoices::kMaxTiles * kTileRows, "a choice for each");

// The sums of some tiles of rows and some panels.
template <typename Tiles, typename Element>
struct TileProducts {
  using Sum = SumOf<Element>;

  // kRowTiles tiles of rows, kHalves halves of a panel. Registers: the sums come first, then
  // weights, then rows, whose one name all tiles of rows share.
  template <uint32_t kRowTiles, uint32_t kHalves>
  RECURVE_AMX static void Block(const std::byte* x /* [kRowTiles][slices][tile] */,
                                const std::byte* weights /* [slices][2][tile], from a half on */,
                                uint32_t slices, FetchAhead& ahead,
                                Sum* sums /* [kRowTiles * 16][32], from the half on */) {
    BlockOf<kHalves>(x, weights, slices, ahead, sums,
                     std::make_integer_sequence<uint32_t, kRowTiles>());
  }

  // One tile of rows, kPanels panels, which lie `panel_bytes` apart.
  template <uint32_t kPanels>
  RECURVE_AMX static void OneBy(const std::byte* x /* [slices][tile] */, const std::byte* panel,
                                size_t panel_bytes, uint32_t slices, FetchAhead& ahead,
                                Sum* sums /* [kPanels][16][32] */) {
    ZeroSums<0, 2>();
    if constexpr (kPanels == 2) ZeroSums<2, 2>();
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
    StoreSums<0, 2>(sums);
    if constexpr (kPanels == 2) StoreSums<2, 2>(sums + kTileRows * kPanelOutputs);
  }

 private:
  template <uint32_t kHalves, uint32_t... kRowTile>
  RECURVE_AMX static void BlockOf(const std::byte* x, const std::byte* weights, uint32_t slices,
                                  FetchAhead& ahead, Sum* sums,
                                  std::integer_sequence<uint32_t, kRowTile...> /*indices*/) {
    constexpr int kWeights = sizeof...(kRowTile) * kHalves;
    constexpr int kRows = kWeights + kHalves;
    static_assert(kRows < 8, "there are eight registers");
    (ZeroSums<kRowTile * kHalves, kHalves>(), ...);
    const size_t row_tile_bytes = slices * kTileBytes;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      ahead.Step();
      Tiles::template Load<kWeights>(weights, kTileRowBytes);
      if constexpr (kHalves == 2) {
        Tiles::template Load<kWeights + 1>(weights + kTileBytes, kTileRowBytes);
      }
      (AddDots<kRowTile * kHalves, kHalves, kWeights, kRows>(x + kRowTile * row_tile_bytes), ...);
      x += kTileBytes;
      weights += 2 * kTileBytes;
    }
    (StoreSums<kRowTile * kHalves, kHalves>(sums + kRowTile * kTileRows * kPanelOutputs), ...);
  }

  // For the sums of one tile of rows and kHalves halves of a panel, in registers from kFirst on.
  template <int kFirst, uint32_t kHalves>
  RECURVE_AMX static void ZeroSums() {
    Tiles::template Zero<kFirst>();
    if constexpr (kHalves == 2) Tiles::template Zero<kFirst + 1>();
  }
  template <int kFirst, uint32_t kHalves, int kWeights, int kRows>
  RECURVE_AMX static void AddDots(const std::byte* x) {
    Tiles::template Load<kRows>(x, kTileRowBytes);
    Tiles::template Dot<Element, kFirst, kRows, kWeights>();
    if constexpr (kHalves == 2) Tiles::template Dot<Element, kFirst + 1, kRows, kWeights + 1>();
  }
  template <int kFirst, uint32_t kHalves>
  RECURVE_AMX static void StoreSums(Sum* sums /* [16][32], from the half on */) {
    Tiles::template Store<kFirst>(sums, kPanelOutputs * sizeof(Sum));
    if constexpr (kHalves == 2) {
      Tiles::template Store<kFirst + 1>(sums + kHalfPanel, kPanelOutputs * sizeof(Sum));
    }
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

// The tiles of a pass's rows in blocks of nearly equal numbers of them, at most those of the
// blocking. So only the first can have a single tile, and that only where two is the most.
class TileBlocks {
 public:
  TileBlocks(uint32_t tiles, uint32_t most) : tiles_(tiles), blocks_((tiles + most - 1) / most) {}
  uint32_t size() const { return blocks_; }
  uint32_t first(uint32_t block) const { return block * tiles_ / blocks_; }  // of its tiles
  uint32_t tiles(uint32_t block) const { return first(block + 1) - first(block); }

 private:
  uint32_t tiles_;
  uint32_t blocks_;
};

constexpr uint32_t TilesOf(uint32_t rows) { return (rows + kTileRows - 1) / kTileRows; }

// Some panels, at most kGroupPanels, and all rows of a pass, packed.
template <typename Tiles, typename Ends, typename Element>
class TileGroup {
 public:
  TileGroup(const LinearArgs& args, uint32_t begin, uint32_t rows, const std::byte* packed,
            uint32_t panel, uint32_t panels)
      : args_(args),
        slices_(args.weights->padded_inputs() / kTileInputs<Element>),
        begin_(begin),
        rows_(rows),
        packed_(packed),
        panel_(panel),
        panels_(panels) {}

  // Steps of FetchAhead that Multiply takes: one for each call of TileProducts and slice.
  uint32_t Steps(const TileBlocking& blocking) const {
    const TileBlocks blocks(TilesOf(rows_), blocking.tiles);
    uint32_t calls = 0;
    for (uint32_t i = 0; i < blocks.size(); ++i) {
      calls += blocks.tiles(i) == 1 ? 1 : panels_ * (2 / blocking.halves);
    }
    return calls * slices_;
  }

  void Multiply(const TileBlocking& blocking, FetchAhead& ahead) const {
    const TileBlocks blocks(TilesOf(rows_), blocking.tiles);
    for (uint32_t i = 0; i < blocks.size(); ++i) {
      if (blocks.tiles(i) == 1) {
        MultiplyTile(blocks.first(i), ahead);
      } else {
        for (uint32_t p = 0; p < panels_; ++p) {
          MultiplyBlock(blocking, blocks.first(i), blocks.tiles(i), panel_ + p, ahead);
        }
      }
    }
  }

 private:
  using Products = TileProducts<Tiles, Element>;
  using Sum = SumOf<Element>;

  const std::byte* Rows(uint32_t tile) const { return packed_ + tile * slices_ * kTileBytes; }

  void Finish(uint32_t tile, uint32_t tiles, uint32_t panel, const Sum* sums) const {
    const uint32_t first = tile * kTileRows;
    const uint32_t rows = std::min(tiles * kTileRows, rows_ - first);
    for (uint32_t r = 0; r < rows; ++r) {
      Ends::Finish(args_, begin_ + first + r, panel, sums + r * kPanelOutputs);
    }
  }

  // One tile of rows, all panels.
  void MultiplyTile(uint32_t tile, FetchAhead& ahead) const {
    alignas(64) Sum sums[kGroupPanels * kTileRows * kPanelOutputs];
    const auto multiply = panels_ == 2 ? Products::template OneBy<2> : Products::template OneBy<1>;
    multiply(Rows(tile), args_.weights->panel(panel_), args_.weights->panel_bytes(), slices_, ahead,
             sums);
    for (uint32_t p = 0; p < panels_; ++p) {
      Finish(tile, 1, panel_ + p, sums + p * kTileRows * kPanelOutputs);
    }
  }

  // Several tiles of rows, one panel.
  void MultiplyBlock(const TileBlocking& blocking, uint32_t tile, uint32_t tiles, uint32_t panel,
                     FetchAhead& ahead) const {
    alignas(64) Sum sums[kMaxBlockTiles * kTileRows * kPanelOutputs];
    const auto multiply = blocking.halves == 2 ? Products::template Block<2, 2>
                          : tiles == 2         ? Products::template Block<2, 1>
                          : tiles == 3         ? Products::template Block<3, 1>
                                               : Products::template Block<4, 1>;
    for (uint32_t half = 0; half < 2; half += blocking.halves) {
      multiply(Rows(tile), args_.weights->panel(panel) + half * kTileBytes, slices_, ahead,
               sums + half * kHalfPanel);
    }
    Finish(tile, tiles, panel, sums);
  }

  const LinearArgs& args_;
  const uint32_t slices_;
  const uint32_t begin_;  // the pass's rows
  const uint32_t rows_;
  const std::byte* const packed_;  // [tiles][slices][tile]
  const uint32_t panel_;
  const uint32_t panels_;
};

// The whole product with weights of Element: Bf16 or int8_t. A whole group of panels is a
// turn of the choice among blockings.
template <typename Tiles, typename Ends, typename Element>
void LinearInTiles(const LinearArgs& args) {
  const typename Tiles::Scope scope;
  auto* const packed = reinterpret_cast<std::byte*>(args.scratch);
  const products::Passes passes(args, kMaxTileRows);
  passes.ForEach([&](const products::Passes::Pass& pass) {
    PackTiles<Element>(args, pass.row, pass.rows, packed);
    BlockingChoice fresh;
    BlockingChoice& choice =
        args.blockings == nullptr ? fresh : args.blockings->of_tiles[TilesOf(pass.rows) - 1];
    for (uint32_t panel = pass.panel_begin; panel < pass.panel_end; panel += kGroupPanels) {
      const uint32_t panels = std::min(kGroupPanels, pass.panel_end - panel);
      const TileGroup<Tiles, Ends, Element> group(args, pass.row, pass.rows, packed, panel, panels);
      const auto multiply = [&](uint32_t index) {
        const TileBlocking& blocking = kTileBlockings[index];
        FetchAhead ahead = passes.Ahead(pass, panel + panels, kGroupPanels, group.Steps(blocking));
        group.Multiply(blocking, ahead);
      };
      if (panels == kGroupPanels) {
        choice.Turn(Tiles::Now, multiply);
      } else {
        multiply(choice.best());
      }
    }
  });
}

}  // namespace recurve::amx

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_AMX_H_
