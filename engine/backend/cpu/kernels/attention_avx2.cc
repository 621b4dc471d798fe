// SPDX-License-Identifier: Apache-2.0
// Attention in AVX2: up to 3 queries by 16 entries, then by 16 dimensions, in registers.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/attention_passes.h"
#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"

namespace recurve::avx2 {
namespace {

constexpr uint32_t kWidth = 8;
constexpr uint32_t kVectors = 2;  // of 16 entries or dimensions

void Prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

// Eight elements as floats.
__m256 Load(const float* at) { return _mm256_loadu_ps(at); }
__m256 Load(const int8_t* at) {
  const __m128i raw = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(raw));
}

// Eight elements of an even row, and those of the next row, which lies `row` elements behind it: of
// two dimensions of keys, or two entries of values.
template <typename Element>
EvenOdd LoadTwo(const Element* at, uint32_t row) {
  return {Load(at), Load(at + row)};
}
EvenOdd LoadTwo(const Bf16* at, uint32_t /*row*/) { return LoadPairs(at); }

struct Attending {
  static constexpr uint32_t kQueries = 3;

  template <uint32_t kCount, typename Element>
  static void Scores(const ScoreArgs& args);
  template <uint32_t kCount, typename Element>
  static void AddValues(const ValueArgs& args);

  // Turns scores into exp(score - largest) in place; returns 1 / their sum.
  static float Softmax(float* scores /* [tiles][stride], 16 at first */, size_t stride,
                       uint32_t tiles, const float* largest /* [16] */);
};

template <uint32_t kCount, typename Element>
void Attending::Scores(const ScoreArgs& args) {
  const uint32_t head_dim = args.layout->head_dim;
  const auto* const keys = reinterpret_cast<const Element*>(args.tile);
  const auto* const ahead = reinterpret_cast<const Element*>(args.ahead);
  if constexpr (kHasScales<Element>) Prefetch(ahead + head_dim * kTileEntries);
  __m256 even[kCount][kVectors];
  __m256 odd[kCount][kVectors];
  RECURVE_UNROLL
  for (uint32_t i = 0; i < kCount; ++i) {
    even[i][0] = even[i][1] = odd[i][0] = odd[i][1] = _mm256_setzero_ps();
  }
  for (uint32_t d = 0; d < head_dim; d += 2) {
    const uint32_t at = d * kTileEntries;
    Prefetch(ahead + at);
    if constexpr (sizeof(Element) == sizeof(float)) Prefetch(ahead + at + kTileEntries);
    const float* const q = args.q + d * kCount;
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const EvenOdd key = LoadTwo(keys + at + v * kWidth * kTogether<Element>, kTileEntries);
      RECURVE_UNROLL
      for (uint32_t i = 0; i < kCount; ++i) {
        even[i][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(q + i), key.even, even[i][v]);
        odd[i][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(q + kCount + i), key.odd, odd[i][v]);
      }
    }
  }
  const __m256 scale = _mm256_set1_ps(ScoreScale(head_dim));
  const __m256 lowest = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  const auto* const scales =
      reinterpret_cast<const float*>(args.tile + args.layout->key_scale_offset());
  RECURVE_UNROLL
  for (uint32_t v = 0; v < kVectors; ++v) {
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t seen = args.seen[i] > v * kWidth ? args.seen[i] - v * kWidth : 0;
      const __m256 mask = _mm256_castsi256_ps(FirstLanes(seen));
      __m256 score = _mm256_mul_ps(_mm256_add_ps(even[i][v], odd[i][v]), scale);
      if constexpr (kHasScales<Element>) {
        score = _mm256_mul_ps(score, _mm256_loadu_ps(scales + v * kWidth));
      }
      score = _mm256_blendv_ps(lowest, score, mask);
      const uint32_t at = i * kTileEntries + v * kWidth;
      _mm256_storeu_ps(args.scores + at, score);
      _mm256_storeu_ps(args.largest + at, _mm256_max_ps(score, _mm256_loadu_ps(args.largest + at)));
    }
  }
}

float Attending::Softmax(float* scores, size_t stride, uint32_t tiles, const float* largest) {
  const __m256 eight = _mm256_max_ps(_mm256_loadu_ps(largest), _mm256_loadu_ps(largest + kWidth));
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
  const __m256 top = _mm256_broadcastss_ps(m);
  __m256 low = _mm256_setzero_ps();
  __m256 high = _mm256_setzero_ps();
  for (uint32_t tile = 0; tile < tiles; ++tile, scores += stride) {
    const __m256 p0 = Exp8(_mm256_sub_ps(_mm256_loadu_ps(scores), top));
    const __m256 p1 = Exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + kWidth), top));
    _mm256_storeu_ps(scores, p0);
    _mm256_storeu_ps(scores + kWidth, p1);
    low = _mm256_add_ps(low, p0);
    high = _mm256_add_ps(high, p1);
  }
  return 1.0F / AddLanes(low, high);
}

// The chains of 16 dimensions of some queries.
template <uint32_t kCount>
struct Chains {
  __m256 even[kCount][kVectors];
  __m256 odd[kCount][kVectors];
};

// Adds two entries' values of 16 dimensions, or with kBoth false the even one's alone: the other
// may be anything, even NaN.
template <bool kBoth, uint32_t kCount, typename Element>
void AddTwo(const Element* values, uint32_t dim, const float* weights, Chains<kCount>& chains) {
  RECURVE_UNROLL
  for (uint32_t v = 0; v < kVectors; ++v) {
    const EvenOdd value = LoadTwo(values + v * kWidth * kTogether<Element>, dim);
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) {
      const float* const p = weights + i * kTileEntries;
      chains.even[i][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(p), value.even, chains.even[i][v]);
      if constexpr (kBoth) {
        chains.odd[i][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(p + 1), value.odd, chains.odd[i][v]);
      }
    }
  }
}

template <uint32_t kCount, typename Element>
void Attending::AddValues(const ValueArgs& args) {
  const uint32_t dim = args.layout->padded_dim();
  for (uint32_t d = 0; d < dim; d += kTileEntries) {
    float* const weighted = args.weighted + d;
    Chains<kCount> chains;
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) {
      RECURVE_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v) {
        chains.even[i][v] = _mm256_loadu_ps(weighted + 2 * i * dim + v * kWidth);
        chains.odd[i][v] = _mm256_loadu_ps(weighted + (2 * i + 1) * dim + v * kWidth);
      }
    }
    for (uint32_t t = args.begin; t < args.end;) {
      const uint32_t tile = t / kTileEntries;
      const uint32_t end = std::min(args.end, (tile + 1) * kTileEntries) - tile * kTileEntries;
      const auto* const values =
          reinterpret_cast<const Element*>(args.tiles[tile] + args.layout->value_offset()) +
          d * kTogether<Element>;
      const auto* const ahead =
          reinterpret_cast<const Element*>(ValuesAhead(args, tile)) + d * kTogether<Element>;
      const float* const weights = args.weights + tile * args.stride;
      uint32_t lane = t % kTileEntries;
      for (; lane + 1 < end; lane += 2) {
        Prefetch(ahead + lane * dim);
        if constexpr (sizeof(Element) == sizeof(float)) Prefetch(ahead + (lane + 1) * dim);
        AddTwo<true>(values + lane * dim, dim, weights + lane, chains);
      }
      if (lane < end) AddTwo<false>(values + lane * dim, dim, weights + lane, chains);
      t = tile * kTileEntries + end;
    }
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) {
      RECURVE_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v) {
        _mm256_storeu_ps(weighted + 2 * i * dim + v * kWidth, chains.even[i][v]);
        _mm256_storeu_ps(weighted + (2 * i + 1) * dim + v * kWidth, chains.odd[i][v]);
      }
    }
  }
}

}  // namespace

void Attention(const AttentionArgs& args) { AttentionInPasses<Attending>(args); }

}  // namespace recurve::avx2

#endif  // __AVX2__
