// SPDX-License-Identifier: Apache-2.0
// Products in AVX2: up to 6 rows by 16 outputs in registers.
//
// For one slice of 32 inputs half a panel gives each row two vectors of outputs, and each output an
// even and an odd chain. Up to 2 rows both chains run side by side (4 or 8 registers); from 3 rows
// on the even inputs pass first, then the odd ones (6 to 12 registers), which reads the half, now
// in the first-level cache, twice.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"

namespace recurve::avx2 {
namespace {

using products::kFewRows;
using products::kFewRowsSteps;
using products::kHalfElements;
using products::kPrefetchBytes;

constexpr uint32_t kWidth = 8;
constexpr uint32_t kVectors = 2;  // of half a panel
constexpr uint32_t kPairs = kSliceInputs / 2;

// Vector `v` of the weights that belong to input 2 * pair + parity of a half.
template <int kParity>
__m256 Weight(const Bf16* half, uint32_t pair, uint32_t v) {
  const Bf16* const at = half + (pair * kHalfPanel + v * kWidth) * 2;
  const __m256i raw = _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
  return kParity == 0 ? EvenOf(raw) : OddOf(raw);
}
template <int kParity>
__m256 Weight(const float* half, uint32_t pair, uint32_t v) {
  return _mm256_load_ps(half + (2 * pair + kParity) * kHalfPanel + v * kWidth);
}

// Fetches ahead what lies at `pair` of the same half kPrefetchBytes further on, a line or two at a
// time so that fetching and multiplying overlap. Past the end of the matrix this has no effect.
template <typename Element>
void Prefetch(const Element* half, uint32_t pair) {
  const char* const ahead =
      reinterpret_cast<const char*>(half + size_t{2} * pair * kHalfPanel) + kPrefetchBytes;
  for (size_t i = 0; i < 2 * kHalfPanel * sizeof(Element); i += 64) {
    _mm_prefetch(ahead + i, _MM_HINT_T0);
  }
}

// chain[row][v] = the chain of one parity over a slice, from 0.
template <int kParity, uint32_t kRows, typename Element>
void Chain(const Element* half, const float* x /* [kRows][32] */, __m256 chain[kRows][kVectors]) {
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) chain[r][0] = chain[r][1] = _mm256_setzero_ps();
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    if constexpr (kParity == 0) Prefetch(half, pair);
    const __m256 w0 = Weight<kParity>(half, pair, 0);
    const __m256 w1 = Weight<kParity>(half, pair, 1);
    RECURVE_UNROLL
    for (uint32_t r = 0; r < kRows; ++r) {
      const __m256 input = _mm256_broadcast_ss(x + r * kSliceInputs + 2 * pair + kParity);
      chain[r][0] = _mm256_fmadd_ps(input, w0, chain[r][0]);
      chain[r][1] = _mm256_fmadd_ps(input, w1, chain[r][1]);
    }
  }
}

// Both chains of a slice side by side.
template <uint32_t kRows, typename Element>
void BothChains(const Element* half, const float* x /* [kRows][32] */, FetchAhead& ahead,
                __m256 even[kRows][kVectors], __m256 odd[kRows][kVectors]) {
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    even[r][0] = even[r][1] = odd[r][0] = odd[r][1] = _mm256_setzero_ps();
  }
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    if (pair % (2 * kPairs / kFewRowsSteps) == 0) ahead.Step();
    Prefetch(half, pair);
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const __m256 even_weight = Weight<0>(half, pair, v);
      const __m256 odd_weight = Weight<1>(half, pair, v);
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        const float* const inputs = x + r * kSliceInputs + 2 * pair;
        even[r][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(inputs), even_weight, even[r][v]);
        odd[r][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(inputs + 1), odd_weight, odd[r][v]);
      }
    }
  }
}

// Adds one slice of inputs of half a panel to the sums.
template <uint32_t kRows, typename Element>
void AddSlice(const Element* half, const float* x /* [kRows][32] */, FetchAhead& ahead,
              float* sums /* [kRows][32], from the half's first output on */) {
  __m256 even[kRows][kVectors];
  __m256 odd[kRows][kVectors];
  if constexpr (kRows <= kFewRows) {
    BothChains<kRows>(half, x, ahead, even, odd);
  } else {
    Chain<0, kRows>(half, x, even);
    Chain<1, kRows>(half, x, odd);
  }
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      float* const at = sums + r * kPanelOutputs + v * kWidth;
      const __m256 slice = _mm256_add_ps(even[r][v], odd[r][v]);
      _mm256_store_ps(at, _mm256_add_ps(_mm256_load_ps(at), slice));
    }
  }
}

struct Products {
  static constexpr uint32_t kMaxRows = 6;  // of a pass: as many as registers hold the sums of
  static constexpr uint32_t SliceSteps(uint32_t rows) {
    return rows <= kFewRows ? kFewRowsSteps : 1;
  }

  // The products of kRows rows with one panel.
  template <uint32_t kRows, typename Element>
  static void Panel(const Element* panel,  // [slices][2][32 * 16]
                    const float* x,        // [slices][kRows][32]
                    uint32_t slices, FetchAhead& ahead, float* sums /* [kRows][32] */) {
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kRows * kPanelOutputs; i += kWidth) {
      _mm256_store_ps(sums + i, _mm256_setzero_ps());
    }
    for (uint32_t slice = 0; slice < slices; ++slice) {
      if constexpr (kRows > kFewRows) ahead.Step();
      AddSlice<kRows>(panel, x, ahead, sums);
      AddSlice<kRows>(panel + kHalfElements, x, ahead, sums + kHalfPanel);
      panel += 2 * kHalfElements;
      x += kSliceInputs * kRows;
    }
  }

  template <typename Element>
  static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const float* sums) {
    products::Finish<Element>(args, row, panel, sums);
  }
};

}  // namespace

void Linear(const LinearArgs& args) { products::LinearInPasses<Products>(args); }

}  // namespace recurve::avx2

#endif  // __AVX2__
