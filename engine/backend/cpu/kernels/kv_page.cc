// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/kv_page.h"

#include "engine/backend/arithmetic.h"

namespace recurve {
namespace {

// Where an entry's elements lie in a tile, counted in elements.
size_t KeyIndex(uint32_t dim, uint32_t lane) {
  return (size_t{dim / 2} * kTileEntries + lane) * 2 + dim % 2;
}
size_t ValueIndex(const PageLayout& layout, uint32_t dim, uint32_t lane) {
  return (size_t{lane / 2} * layout.padded_dim() + dim) * 2 + lane % 2;
}

template <typename Element>
void Store(const PageLayout& layout, uint32_t lane, const float* key, const float* value,
           std::byte* tile) {
  auto* const keys = reinterpret_cast<Element*>(tile);
  auto* const values = reinterpret_cast<Element*>(tile + layout.value_offset());
  for (uint32_t d = 0; d < layout.head_dim; ++d) {
    StoreRounded(key[d], &keys[KeyIndex(d, lane)]);
    StoreRounded(value[d], &values[ValueIndex(layout, d, lane)]);
  }
}

template <typename Element>
void Copy(const PageLayout& layout, const std::byte* from, uint32_t from_lane, std::byte* to,
          uint32_t to_lane) {
  const auto* const from_keys = reinterpret_cast<const Element*>(from);
  const auto* const from_values = reinterpret_cast<const Element*>(from + layout.value_offset());
  auto* const keys = reinterpret_cast<Element*>(to);
  auto* const values = reinterpret_cast<Element*>(to + layout.value_offset());
  for (uint32_t d = 0; d < layout.head_dim; ++d) {
    keys[KeyIndex(d, to_lane)] = from_keys[KeyIndex(d, from_lane)];
    values[ValueIndex(layout, d, to_lane)] = from_values[ValueIndex(layout, d, from_lane)];
  }
}

}  // namespace

void StoreKv(const PageLayout& layout, uint32_t lane, const float* key, const float* value,
             std::byte* tile) {
  if (layout.precision == Precision::kBf16) {
    Store<Bf16>(layout, lane, key, value, tile);
  } else {
    Store<float>(layout, lane, key, value, tile);
  }
}

void CopyKv(const PageLayout& layout, const std::byte* from, uint32_t from_lane, std::byte* to,
            uint32_t to_lane) {
  if (layout.precision == Precision::kBf16) {
    Copy<Bf16>(layout, from, from_lane, to, to_lane);
  } else {
    Copy<float>(layout, from, from_lane, to, to_lane);
  }
}

}  // namespace recurve
