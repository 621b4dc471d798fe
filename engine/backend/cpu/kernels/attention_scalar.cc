// SPDX-License-Identifier: Apache-2.0
// Attention in plain loops: the definition that the other instruction sets are tested against.
#include <limits>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

float ScaleAt(const std::byte* tile, size_t offset, uint32_t lane) {
  return reinterpret_cast<const float*>(tile + offset)[lane];
}

template <typename Element>
float Score(const PageLayout& layout, const std::byte* tile, const float* q /* [head_dim] */,
            uint32_t lane) {
  const auto* const keys = reinterpret_cast<const Element*>(tile);
  const float sum = PairSum(
      layout.head_dim, [q](uint32_t d) { return q[d]; },
      [keys, lane](uint32_t d) { return Widen(keys[KeyIndex<Element>(d, lane)]); });
  const float score = sum * ScoreScale(layout.head_dim);
  if constexpr (sizeof(Element) != sizeof(int8_t)) return score;
  return score * ScaleAt(tile, layout.key_scale_offset(), lane);
}

template <typename Element>
void AttentionOf(const AttentionArgs& args) {
  const PageLayout& layout = args.layout;
  float* const p = args.scratch;  // [entries]
  for (uint32_t query = 0; query < args.rows * args.heads; ++query) {
    const uint32_t row = query / args.heads;
    const uint32_t h = query % args.heads;
    const uint32_t entries = args.entries[row];
    const float* const q = args.q + row * args.q_stride + size_t{h} * layout.head_dim;
    float largest = -std::numeric_limits<float>::infinity();
    for (uint32_t t = 0; t < entries; ++t) {
      p[t] = Score<Element>(layout, args.tiles[t / kTileEntries], q, t % kTileEntries);
      if (p[t] > largest) largest = p[t];
    }
    float lanes[kLanes] = {};
    for (uint32_t t = 0; t < entries; ++t) {
      p[t] = Exp(p[t] - largest);
      lanes[t % kLanes] += p[t];
    }
    const float inverse = 1.0F / AddLanes(lanes);
    if (args.mass != nullptr) AddMass(p, entries, inverse, args.mass);
    if constexpr (sizeof(Element) == sizeof(int8_t)) {
      for (uint32_t t = 0; t < entries; ++t) {
        p[t] *=
            ScaleAt(args.tiles[t / kTileEntries], layout.value_scale_offset(), t % kTileEntries);
      }
    }
    for (uint32_t d = 0; d < layout.head_dim; ++d) {
      const auto value = [&args, &layout, d](uint32_t t) {
        const auto* const values =
            reinterpret_cast<const Element*>(args.tiles[t / kTileEntries] + layout.value_offset());
        return Widen(values[ValueIndex<Element>(layout.padded_dim(), d, t % kTileEntries)]);
      };
      const float sum = PairSum(
          entries, [p](uint32_t t) { return p[t]; }, value);
      args.out[row * args.out_stride + size_t{h} * layout.head_dim + d] = sum * inverse;
    }
  }
}

}  // namespace

void Attention(const AttentionArgs& args) {
  switch (args.layout.precision) {
    case Precision::kF32:
      return AttentionOf<float>(args);
    case Precision::kBf16:
      return AttentionOf<Bf16>(args);
    case Precision::kInt8:
      return AttentionOf<int8_t>(args);
  }
}

}  // namespace recurve::scalar
