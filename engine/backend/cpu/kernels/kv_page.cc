// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/kv_page.h"

#include <algorithm>

#include "engine/backend/arithmetic.h"

namespace recurve {
namespace {

template <typename Element>
void Store(const PageLayout& layout, uint32_t lane, const float* key, const float* value,
           std::byte* tile) {
  auto* const keys = reinterpret_cast<Element*>(tile);
  auto* const values = reinterpret_cast<Element*>(tile + layout.value_offset());
  for (uint32_t d = 0; d < layout.head_dim; ++d) {
    StoreRounded(key[d], &keys[KeyIndex<Element>(d, lane)]);
    StoreRounded(value[d], &values[ValueIndex<Element>(layout.padded_dim(), d, lane)]);
  }
}

// A vector's whole numbers go to q[0], q[stride], ...; returns its scale.
float Quantize(const float* x, uint32_t n, int8_t* q, size_t stride) {
  uint32_t greatest = 0;
  for (uint32_t i = 0; i < n; ++i) greatest = std::max(greatest, MagnitudeBits(x[i]));
  const RowScale row = RowScaleOf(greatest);
  for (uint32_t i = 0; i < n; ++i) {
    q[i * stride] = row.inverse == 0.0F ? int8_t{0} : QuantizeNumber(x[i], row.inverse);
  }
  return row.scale;
}

void StoreInt8(const PageLayout& layout, uint32_t lane, const float* key, const float* value,
               std::byte* tile) {
  auto* const keys = reinterpret_cast<int8_t*>(tile);
  auto* const values = reinterpret_cast<int8_t*>(tile + layout.value_offset());
  reinterpret_cast<float*>(tile + layout.key_scale_offset())[lane] =
      Quantize(key, layout.head_dim, keys + lane, kTileEntries);
  reinterpret_cast<float*>(tile + layout.value_scale_offset())[lane] =
      QuantizeRow(value, layout.head_dim, values + size_t{lane} * layout.padded_dim());
}

template <typename Element>
void Copy(const PageLayout& layout, const std::byte* from, uint32_t from_lane, std::byte* to,
          uint32_t to_lane) {
  const auto* const from_keys = reinterpret_cast<const Element*>(from);
  const auto* const from_values = reinterpret_cast<const Element*>(from + layout.value_offset());
  auto* const keys = reinterpret_cast<Element*>(to);
  auto* const values = reinterpret_cast<Element*>(to + layout.value_offset());
  const uint32_t dim = layout.padded_dim();
  for (uint32_t d = 0; d < layout.head_dim; ++d) {
    keys[KeyIndex<Element>(d, to_lane)] = from_keys[KeyIndex<Element>(d, from_lane)];
    values[ValueIndex<Element>(dim, d, to_lane)] =
        from_values[ValueIndex<Element>(dim, d, from_lane)];
  }
}

void CopyScales(const PageLayout& layout, const std::byte* from, uint32_t from_lane, std::byte* to,
                uint32_t to_lane) {
  for (const size_t offset : {layout.key_scale_offset(), layout.value_scale_offset()}) {
    reinterpret_cast<float*>(to + offset)[to_lane] =
        reinterpret_cast<const float*>(from + offset)[from_lane];
  }
}

}  // namespace

void StoreKv(const PageLayout& layout, uint32_t lane, const float* key, const float* value,
             std::byte* tile) {
  switch (layout.precision) {
    case Precision::kF32:
      return Store<float>(layout, lane, key, value, tile);
    case Precision::kBf16:
      return Store<Bf16>(layout, lane, key, value, tile);
    case Precision::kInt8:
      return StoreInt8(layout, lane, key, value, tile);
  }
}

void CopyKv(const PageLayout& layout, const std::byte* from, uint32_t from_lane, std::byte* to,
            uint32_t to_lane) {
  switch (layout.precision) {
    case Precision::kF32:
      return Copy<float>(layout, from, from_lane, to, to_lane);
    case Precision::kBf16:
      return Copy<Bf16>(layout, from, from_lane, to, to_lane);
    case Precision::kInt8:
      Copy<int8_t>(layout, from, from_lane, to, to_lane);
      return CopyScales(layout, from, from_lane, to, to_lane);
  }
}

}  // namespace recurve
