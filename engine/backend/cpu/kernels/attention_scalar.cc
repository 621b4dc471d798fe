// SPDX-License-Identifier: Apache-2.0
// Attention in plain loops: the definition that the other instruction sets are tested against.
#include <limits>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

template <typename Element>
float Score(const Element* keys /* [head_dim / 2][16][2] */, const float* q /* [head_dim] */,
            uint32_t head_dim, uint32_t lane) {
  return PairSum(
      head_dim, [q](uint32_t d) { return q[d]; },
      [keys, lane](uint32_t d) {
        return Widen(keys[(size_t{d / 2} * kTileEntries + lane) * 2 + d % 2]);
      });
}

template <typename Element>
void AttentionOf(const AttentionArgs& args) {
  const PageLayout& layout = args.layout;
  const float scale = ScoreScale(layout.head_dim);
  float* const p = args.scratch;  // [entries]
  for (uint32_t h = 0; h < args.heads; ++h) {
    const float* const q = args.q + size_t{h} * layout.head_dim;
    float largest = -std::numeric_limits<float>::infinity();
    for (uint32_t t = 0; t < args.entries; ++t) {
      const auto* const keys = reinterpret_cast<const Element*>(args.tiles[t / kTileEntries]);
      p[t] = Score(keys, q, layout.head_dim, t % kTileEntries) * scale;
      if (p[t] > largest) largest = p[t];
    }
    float lanes[kLanes] = {};
    for (uint32_t t = 0; t < args.entries; ++t) {
      p[t] = Exp(p[t] - largest);
      lanes[t % kLanes] += p[t];
    }
    const float inverse = 1.0F / AddLanes(lanes);
    if (args.mass != nullptr) AddMass(p, args.entries, inverse, args.mass);
    for (uint32_t d = 0; d < layout.head_dim; ++d) {
      const auto value = [&args, &layout, d](uint32_t t) {
        const auto* const values =
            reinterpret_cast<const Element*>(args.tiles[t / kTileEntries] + layout.value_offset());
        const uint32_t pair = t % kTileEntries / 2;
        return Widen(values[(size_t{pair} * layout.padded_dim() + d) * 2 + t % 2]);
      };
      const float sum = PairSum(
          args.entries, [p](uint32_t t) { return p[t]; }, value);
      args.out[size_t{h} * layout.head_dim + d] = sum * inverse;
    }
  }
}

}  // namespace

void Attention(const AttentionArgs& args) {
  if (args.layout.precision == Precision::kBf16) {
    AttentionOf<Bf16>(args);
  } else {
    AttentionOf<float>(args);
  }
}

}  // namespace recurve::scalar
