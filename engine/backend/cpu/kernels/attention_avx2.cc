// SPDX-License-Identifier: Apache-2.0
// Attention in AVX2: up to 3 query heads by 16 entries, then by 16 dimensions, in registers.
#if defined(__AVX2__)

#include <algorithm>
#include <limits>

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"

namespace recurve::avx2 {
namespace {

constexpr uint32_t kWidth = 8;
constexpr uint32_t kVectors = 2;  // of 16 entries or dimensions

// Where the heads of one pass keep their intermediate values.
struct Work {
  float* scores;    // [heads][stride]: scores, then probabilities
  size_t stride;    // entries rounded up to 16
  float* weighted;  // [heads][2][padded_dim]: even and odd chains of p V
};

// Scores of the entries of one tile.
template <uint32_t kHeads, typename Element>
void TileScores(const Element* keys /* [head_dim / 2][16][2] */,
                const float* q /* [kHeads][head_dim] */, uint32_t head_dim, __m256 scale,
                __m256 scores[kHeads][kVectors]) {
  __m256 even[kHeads][kVectors];
  __m256 odd[kHeads][kVectors];
  RECURVE_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) {
    even[h][0] = even[h][1] = odd[h][0] = odd[h][1] = _mm256_setzero_ps();
  }
  for (uint32_t d = 0; d < head_dim; d += 2, keys += 2 * kTileEntries) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const EvenOdd key = LoadPairs(keys + v * 2 * kWidth);
      RECURVE_UNROLL
      for (uint32_t h = 0; h < kHeads; ++h) {
        const float* const at = q + h * head_dim + d;
        even[h][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(at), key.even, even[h][v]);
        odd[h][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(at + 1), key.odd, odd[h][v]);
      }
    }
  }
  RECURVE_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      scores[h][v] = _mm256_mul_ps(_mm256_add_ps(even[h][v], odd[h][v]), scale);
    }
  }
}

// Scores of all entries, minus infinity beyond them; and the largest of each head.
template <uint32_t kHeads, typename Element>
void AllScores(const AttentionArgs& args, const float* q, const Work& work,
               __m256 largest[kHeads]) {
  const uint32_t head_dim = args.layout.head_dim;
  const __m256 scale = _mm256_set1_ps(ScoreScale(head_dim));
  const __m256 lowest = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  for (uint32_t h = 0; h < kHeads; ++h) largest[h] = lowest;
  for (uint32_t first = 0; first < args.entries; first += kTileEntries) {
    const auto* const keys = reinterpret_cast<const Element*>(args.tiles[first / kTileEntries]);
    __m256 scores[kHeads][kVectors];
    TileScores<kHeads>(keys, q, head_dim, scale, scores);
    const uint32_t valid = std::min(kTileEntries, args.entries - first);
    for (uint32_t v = 0; v < kVectors; ++v) {
      const uint32_t count = valid > v * kWidth ? valid - v * kWidth : 0;
      const __m256 mask = _mm256_castsi256_ps(FirstLanes(count));
      for (uint32_t h = 0; h < kHeads; ++h) {
        const __m256 score = _mm256_blendv_ps(lowest, scores[h][v], mask);
        _mm256_storeu_ps(work.scores + h * work.stride + first + v * kWidth, score);
        largest[h] = _mm256_max_ps(score, largest[h]);
      }
    }
  }
}

// Turns one head's scores into exp(score - largest) in place; returns 1 / their sum.
float Softmax(float* scores, size_t stride, __m256 largest) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
  const __m256 top = _mm256_broadcastss_ps(m);
  __m256 low = _mm256_setzero_ps();
  __m256 high = _mm256_setzero_ps();
  for (size_t t = 0; t < stride; t += kTileEntries) {
    const __m256 p0 = Exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + t), top));
    const __m256 p1 = Exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + t + kWidth), top));
    _mm256_storeu_ps(scores + t, p0);
    _mm256_storeu_ps(scores + t + kWidth, p1);
    low = _mm256_add_ps(low, p0);
    high = _mm256_add_ps(high, p1);
  }
  return 1.0F / AddLanes(low, high);
}

// Adds the values of one tile's `valid` entries, weighted, to the chains of 16 dimensions.
template <uint32_t kHeads, typename Element>
void AddValues(const Element* values /* [8][padded_dim][2], from the first dimension on */,
               uint32_t padded_dim, uint32_t valid,
               const float* p /* [kHeads][stride], from the tile's first entry on */, size_t stride,
               float* weighted /* [kHeads][2][padded_dim], from the first dimension on */) {
  __m256 even[kHeads][kVectors];
  __m256 odd[kHeads][kVectors];
  RECURVE_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      even[h][v] = _mm256_loadu_ps(weighted + 2 * h * padded_dim + v * kWidth);
      odd[h][v] = _mm256_loadu_ps(weighted + (2 * h + 1) * padded_dim + v * kWidth);
    }
  }
  const uint32_t pairs = valid / 2;
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const EvenOdd value = LoadPairs(values + (pair * padded_dim + v * kWidth) * 2);
      RECURVE_UNROLL
      for (uint32_t h = 0; h < kHeads; ++h) {
        const float* const at = p + h * stride + 2 * pair;
        even[h][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(at), value.even, even[h][v]);
        odd[h][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(at + 1), value.odd, odd[h][v]);
      }
    }
  }
  if (valid % 2 != 0) {
    // The last pair's odd entry is not there: its value may be anything, even NaN.
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const EvenOdd value = LoadPairs(values + (pairs * padded_dim + v * kWidth) * 2);
      RECURVE_UNROLL
      for (uint32_t h = 0; h < kHeads; ++h) {
        const __m256 weight = _mm256_broadcast_ss(p + h * stride + 2 * pairs);
        even[h][v] = _mm256_fmadd_ps(weight, value.even, even[h][v]);
      }
    }
  }
  RECURVE_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(weighted + 2 * h * padded_dim + v * kWidth, even[h][v]);
      _mm256_storeu_ps(weighted + (2 * h + 1) * padded_dim + v * kWidth, odd[h][v]);
    }
  }
}

template <uint32_t kHeads, typename Element>
void AttendHeads(const AttentionArgs& args, uint32_t first_head) {
  const PageLayout& layout = args.layout;
  const uint32_t dim = layout.padded_dim();
  const float* const q = args.q + size_t{first_head} * layout.head_dim;
  float* const out = args.out + size_t{first_head} * layout.head_dim;
  const size_t stride = RoundUp(args.entries, kTileEntries);
  const Work work = {args.scratch, stride, args.scratch + kHeads * stride};

  __m256 largest[kHeads];
  AllScores<kHeads, Element>(args, q, work, largest);
  float inverse[kHeads];
  for (uint32_t h = 0; h < kHeads; ++h) {
    inverse[h] = Softmax(work.scores + h * stride, stride, largest[h]);
    if (args.mass != nullptr) {
      AddMass(work.scores + h * stride, args.entries, inverse[h], args.mass);
    }
  }
  std::fill_n(work.weighted, size_t{kHeads} * 2 * dim, 0.0F);
  for (uint32_t first = 0; first < args.entries; first += kTileEntries) {
    const auto* const values =
        reinterpret_cast<const Element*>(args.tiles[first / kTileEntries] + layout.value_offset());
    const uint32_t valid = std::min(kTileEntries, args.entries - first);
    for (uint32_t d = 0; d < dim; d += kTileEntries) {
      AddValues<kHeads>(values + 2 * d, dim, valid, work.scores + first, stride, work.weighted + d);
    }
  }
  for (uint32_t h = 0; h < kHeads; ++h) {
    const float* const even = work.weighted + size_t{2} * h * dim;
    const float* const odd = even + dim;
    for (uint32_t d = 0; d < layout.head_dim; ++d) {
      out[h * layout.head_dim + d] = (even[d] + odd[d]) * inverse[h];
    }
  }
}

template <typename Element>
void AttentionOf(const AttentionArgs& args) {
  constexpr void (*kAttendHeads[kHeadsTogether + 1])(const AttentionArgs&, uint32_t) = {
      nullptr, AttendHeads<1, Element>, AttendHeads<2, Element>, AttendHeads<3, Element>};
  const uint32_t passes = (args.heads + kHeadsTogether - 1) / kHeadsTogether;
  for (uint32_t pass = 0; pass < passes; ++pass) {
    // Passes over nearly equal numbers of heads.
    const uint32_t begin = pass * args.heads / passes;
    kAttendHeads[(pass + 1) * args.heads / passes - begin](args, begin);
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

}  // namespace recurve::avx2

#endif  // __AVX2__
