// SPDX-License-Identifier: Apache-2.0
// Attention in AVX-512: up to 12 queries by 16 entries, then by 16 dimensions, in registers; with
// fewer queries up to 64 dimensions.
#if defined(__AVX2__)

#include <immintrin.h>

#include <limits>

#include "engine/backend/cpu/kernels/attention_passes.h"
#include "engine/backend/cpu/kernels/kernels_avx512.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/unroll.h"

namespace recurve::avx512 {
namespace {

using avx2::kHasScales;
using avx2::kTogether;
using avx2::ScoreArgs;
using avx2::ValueArgs;

inline void Prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

// Sixteen elements as floats.
RECURVE_AVX512 inline __m512 Load(const float* at) { return _mm512_loadu_ps(at); }
RECURVE_AVX512 inline __m512 Load(const int8_t* at) {
  const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  return _mm512_maskz_cvtepi32_ps(kAll, _mm512_maskz_cvtepi8_epi32(kAll, raw));
}

struct Two {
  __m512 even;
  __m512 odd;
};

// Sixteen elements of an even row, and those of the next row, which lies `row` elements behind it:
// of two dimensions of keys, or two entries of values.
template <typename Element>
RECURVE_AVX512 inline Two LoadTwo(const Element* at, uint32_t row) {
  return {Load(at), Load(at + row)};
}
RECURVE_AVX512 inline Two LoadTwo(const Bf16* at, uint32_t /*row*/) {
  const __m512i raw = _mm512_loadu_si512(at);
  const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000));
  return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, raw, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(raw, upper))};
}

// The chains of 16 * kBlocks dimensions of some queries.
template <uint32_t kCount, uint32_t kBlocks>
struct Chains {
  __m512 even[kCount][kBlocks];
  __m512 odd[kCount][kBlocks];
};

// Adds two entries' values, or with kBoth false the even one's alone: the other may be anything,
// even NaN.
template <bool kBoth, uint32_t kCount, uint32_t kBlocks, typename Element>
RECURVE_AVX512 inline void AddTwo(const Element* values, uint32_t dim, const float* weights,
                                  Chains<kCount, kBlocks>& chains) {
  RECURVE_UNROLL
  for (uint32_t b = 0; b < kBlocks; ++b) {
    const Two value = LoadTwo(values + b * kTileEntries * kTogether<Element>, dim);
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) {
      const float* const p = weights + i * kTileEntries;
      chains.even[i][b] = _mm512_fmadd_ps(_mm512_set1_ps(p[0]), value.even, chains.even[i][b]);
      if constexpr (kBoth) {
        chains.odd[i][b] = _mm512_fmadd_ps(_mm512_set1_ps(p[1]), value.odd, chains.odd[i][b]);
      }
    }
  }
}

// Fetches what AddTwo of the same place will read.
template <uint32_t kBlocks, typename Element>
inline void PrefetchTwo(const Element* ahead, uint32_t dim) {
  constexpr uint32_t kLine = 64 / sizeof(Element);
  for (uint32_t at = 0; at < kBlocks * kTileEntries * kTogether<Element>; at += kLine) {
    Prefetch(ahead + at);
    if constexpr (kTogether<Element> == 1) Prefetch(ahead + dim + at);
  }
}

// Adds the values of kBlocks times 16 dimensions from d on.
template <uint32_t kCount, uint32_t kBlocks, typename Element>
RECURVE_AVX512 void AddDimensions(const ValueArgs& args, uint32_t d) {
  const uint32_t dim = args.layout->padded_dim();
  float* const weighted = args.weighted + d;
  Chains<kCount, kBlocks> chains;
  RECURVE_UNROLL
  for (uint32_t i = 0; i < kCount; ++i) {
    RECURVE_UNROLL
    for (uint32_t b = 0; b < kBlocks; ++b) {
      chains.even[i][b] = _mm512_loadu_ps(weighted + 2 * i * dim + b * kTileEntries);
      chains.odd[i][b] = _mm512_loadu_ps(weighted + (2 * i + 1) * dim + b * kTileEntries);
    }
  }
  for (uint32_t t = args.begin; t < args.end;) {
    const uint32_t tile = t / kTileEntries;
    const uint32_t end = std::min(args.end, (tile + 1) * kTileEntries) - tile * kTileEntries;
    const auto* const values =
        reinterpret_cast<const Element*>(args.tiles[tile] + args.layout->value_offset()) +
        d * kTogether<Element>;
    const auto* const ahead =
        reinterpret_cast<const Element*>(avx2::ValuesAhead(args, tile)) + d * kTogether<Element>;
    const float* const weights = args.weights + tile * args.stride;
    uint32_t lane = t % kTileEntries;
    for (; lane + 1 < end; lane += 2) {
      PrefetchTwo<kBlocks>(ahead + lane * dim, dim);
      AddTwo<true>(values + lane * dim, dim, weights + lane, chains);
    }
    if (lane < end) AddTwo<false>(values + lane * dim, dim, weights + lane, chains);
    t = tile * kTileEntries + end;
  }
  RECURVE_UNROLL
  for (uint32_t i = 0; i < kCount; ++i) {
    RECURVE_UNROLL
    for (uint32_t b = 0; b < kBlocks; ++b) {
      _mm512_storeu_ps(weighted + 2 * i * dim + b * kTileEntries, chains.even[i][b]);
      _mm512_storeu_ps(weighted + (2 * i + 1) * dim + b * kTileEntries, chains.odd[i][b]);
    }
  }
}

struct Attending {
  static constexpr uint32_t kQueries = 12;

  template <uint32_t kCount, typename Element>
  RECURVE_AVX512 static void Scores(const ScoreArgs& args) {
    const uint32_t head_dim = args.layout->head_dim;
    const auto* const keys = reinterpret_cast<const Element*>(args.tile);
    const auto* const ahead = reinterpret_cast<const Element*>(args.ahead);
    if constexpr (kHasScales<Element>) Prefetch(ahead + head_dim * kTileEntries);
    __m512 even[kCount];
    __m512 odd[kCount];
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) even[i] = odd[i] = _mm512_setzero_ps();
    for (uint32_t d = 0; d < head_dim; d += 2) {
      const uint32_t at = d * kTileEntries;
      Prefetch(ahead + at);
      if constexpr (sizeof(Element) == sizeof(float)) Prefetch(ahead + at + kTileEntries);
      const Two key = LoadTwo(keys + at, kTileEntries);
      const float* const q = args.q + d * kCount;
      RECURVE_UNROLL
      for (uint32_t i = 0; i < kCount; ++i) {
        even[i] = _mm512_fmadd_ps(_mm512_set1_ps(q[i]), key.even, even[i]);
        odd[i] = _mm512_fmadd_ps(_mm512_set1_ps(q[kCount + i]), key.odd, odd[i]);
      }
    }
    const __m512 scale = _mm512_set1_ps(ScoreScale(head_dim));
    const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kCount; ++i) {
      const auto seen = static_cast<__mmask16>((1U << args.seen[i]) - 1);
      __m512 score = _mm512_mul_ps(_mm512_add_ps(even[i], odd[i]), scale);
      if constexpr (kHasScales<Element>) {
        score = _mm512_mul_ps(
            score,
            Load(reinterpret_cast<const float*>(args.tile + args.layout->key_scale_offset())));
      }
      score = _mm512_mask_mov_ps(lowest, seen, score);
      _mm512_storeu_ps(args.scores + i * kTileEntries, score);
      float* const largest = args.largest + i * kTileEntries;
      _mm512_storeu_ps(largest, _mm512_maskz_max_ps(kAll, score, _mm512_loadu_ps(largest)));
    }
  }

  // Turns scores into exp(score - largest) in place; returns 1 / their sum.
  RECURVE_AVX512 static float Softmax(float* scores /* [tiles][stride], 16 at first */,
                                      size_t stride, uint32_t tiles,
                                      const float* largest /* [16] */) {
    float top = largest[0];
    for (uint32_t l = 1; l < kLanes; ++l) top = largest[l] > top ? largest[l] : top;
    const __m512 of_all = _mm512_set1_ps(top);
    __m512 sum = _mm512_setzero_ps();
    for (uint32_t tile = 0; tile < tiles; ++tile, scores += stride) {
      const __m512 p = Exp16(_mm512_sub_ps(_mm512_loadu_ps(scores), of_all));
      _mm512_storeu_ps(scores, p);
      sum = _mm512_add_ps(sum, p);
    }
    float lanes[kLanes];
    _mm512_storeu_ps(lanes, sum);
    return 1.0F / AddLanes(lanes);
  }

  template <uint32_t kCount, typename Element>
  RECURVE_AVX512 static void AddValues(const ValueArgs& args) {
    constexpr uint32_t kBlocks = kCount <= 3 ? 4 : kCount <= 6 ? 2 : 1;
    const uint32_t dim = args.layout->padded_dim();
    uint32_t d = 0;
    for (; d + kBlocks * kTileEntries <= dim; d += kBlocks * kTileEntries) {
      AddDimensions<kCount, kBlocks, Element>(args, d);
    }
    if constexpr (kBlocks > 1) {
      for (; d < dim; d += kTileEntries) AddDimensions<kCount, 1, Element>(args, d);
    }
  }
};

}  // namespace

void Attention(const AttentionArgs& args) { avx2::AttentionInPasses<Attending>(args); }

}  // namespace recurve::avx512

#endif  // __AVX2__
