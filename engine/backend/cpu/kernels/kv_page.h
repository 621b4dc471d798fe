// SPDX-License-Identifier: Apache-2.0
// What a page of keys and values looks like inside.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_KV_PAGE_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_KV_PAGE_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/backend/model_shape.h"
#include "engine/backend/precision.h"

namespace recurve {

// One pool of equal pages serves all cache groups. A page holds, for a group with `layers` layers,
// 16 * floor(max_layers / layers) consecutive entries of all its layers:
//   [layers][kv heads][floor(max_layers / layers)] tiles
// and a tile holds 16 entries of one layer and one KV head, the dimensions of values padded to a
// multiple of 16:
//   f32   K  [head_dim][16 entries]
//         V  [16 entries][padded_dim()]
//   bf16  K  [head_dim / 2 pairs of dimensions][16 entries][2]
//         V  [8 pairs of entries][padded_dim()][2]
//   int8  K and V as f32, each followed by its scales, which are f32: [16 entries]
// so that a vector of f32 or int8 is of one dimension of keys, or one entry of values, and 64 bytes
// of bf16 are two of these, which a shift and a mask take apart. Positions of the entries are kept
// elsewhere. A plain value; thread-safe.
struct PageLayout {
  Precision precision = Precision::kF32;
  uint32_t max_layers = 1;  // layers of the largest group
  uint32_t kv_heads = 1;
  uint32_t head_dim = 2;  // even

  uint32_t padded_dim() const { return RoundUp(head_dim, 16); }
  // Byte offsets in a tile: of the keys' scales, of V, and of the values' scales.
  size_t key_scale_offset() const {
    return size_t{head_dim} * kTileEntries * ElementSize(precision);
  }
  size_t value_offset() const { return key_scale_offset() + scale_bytes(); }
  size_t value_scale_offset() const {
    return value_offset() + size_t{padded_dim()} * kTileEntries * ElementSize(precision);
  }
  size_t tile_bytes() const { return value_scale_offset() + scale_bytes(); }
  size_t page_bytes() const { return tile_bytes() * kv_heads * max_layers; }

  // Tiles that a page holds of each layer and KV head of a group with `layers` layers (1 ..
  // max_layers).
  uint32_t tiles_per_page(uint32_t layers) const { return max_layers / layers; }
  uint32_t entries_per_page(uint32_t layers) const { return kTileEntries * tiles_per_page(layers); }
  // Byte offset, in a page of a group with `layers` layers, of the tile-th tile of layer `layer` of
  // the group and KV head `kv_head`.
  size_t tile_offset(uint32_t layers, uint32_t layer, uint32_t kv_head, uint32_t tile) const {
    return ((size_t{layer} * kv_heads + kv_head) * tiles_per_page(layers) + tile) * tile_bytes();
  }

 private:
  size_t scale_bytes() const {
    return precision == Precision::kInt8 ? kTileEntries * sizeof(float) : 0;
  }
};

// Where the elements of entry `lane` of a tile lie, counted in elements from K's or V's begin.
template <typename Element>
size_t KeyIndex(uint32_t dim, uint32_t lane) {
  constexpr uint32_t kTogether = sizeof(Element) == sizeof(Bf16) ? 2 : 1;
  return (size_t{dim / kTogether} * kTileEntries + lane) * kTogether + dim % kTogether;
}
template <typename Element>
size_t ValueIndex(uint32_t padded_dim, uint32_t dim, uint32_t lane) {
  constexpr uint32_t kTogether = sizeof(Element) == sizeof(Bf16) ? 2 : 1;
  return (size_t{lane / kTogether} * padded_dim + dim) * kTogether + lane % kTogether;
}

// Writes one entry's key (rotated) and value into lane `lane` (0 .. 15) of `tile`: rounded to
// nearest even; of int8 each to its own scale, as arithmetic.h says.
void StoreKv(const PageLayout& layout, uint32_t lane,
             const float* key,    // [head_dim]
             const float* value,  // [head_dim]
             std::byte* tile);    // [tile_bytes()]

// Copies an entry's key and value between tiles, or lanes of a tile.
void CopyKv(const PageLayout& layout, const std::byte* from, uint32_t from_lane, std::byte* to,
            uint32_t to_lane);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_KV_PAGE_H_
