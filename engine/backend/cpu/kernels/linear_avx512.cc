// SPDX-License-Identifier: Apache-2.0
// Products in AVX-512: up to 12 rows by 16 outputs in registers.
//
// Half a panel is one vector of outputs, so that both chains of 12 rows fit the 32 registers side
// by side, and multiplying reads its input from memory in the same instruction.
#if defined(__AVX2__)

#include <immintrin.h>

#include <algorithm>

#include "engine/backend/cpu/kernels/kernels_avx512.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"
#include "engine/backend/cpu/kernels/unroll.h"

namespace recurve::avx512 {
namespace {

using products::kFewRows;
using products::kFewRowsSteps;
using products::kHalfElements;
using products::kPrefetchBytes;

constexpr uint32_t kPairs = kSliceInputs / 2;

// The weights of inputs 2 * pair and 2 * pair + 1, of 16 outputs each.
struct Weights {
  __m512 even;
  __m512 odd;
};
RECURVE_AVX512 inline Weights LoadWeights(const Bf16* half, uint32_t pair) {
  const Bf16* const at = half + size_t{2} * pair * kHalfPanel;
  _mm_prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes, _MM_HINT_T0);
  const __m512i raw = _mm512_load_si512(at);
  const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000));
  return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, raw, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(raw, upper))};
}
RECURVE_AVX512 inline Weights LoadWeights(const float* half, uint32_t pair) {
  const float* const at = half + size_t{2} * pair * kHalfPanel;
  _mm_prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes, _MM_HINT_T0);
  _mm_prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes + 64, _MM_HINT_T0);
  return {_mm512_load_ps(at), _mm512_load_ps(at + kHalfPanel)};
}

// Adds one slice of inputs of half a panel to the sums.
template <uint32_t kRows, typename Element>
RECURVE_AVX512 inline void AddSlice(
    const Element* half, const float* x /* [kRows][32] */, FetchAhead& ahead,
    float* sums /* [kRows][32], from the half's first output on */) {
  __m512 even[kRows];
  __m512 odd[kRows];
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) even[r] = odd[r] = _mm512_setzero_ps();
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    if constexpr (kRows <= kFewRows) {
      if (pair % (2 * kPairs / kFewRowsSteps) == 0) ahead.Step();
    }
    const Weights weights = LoadWeights(half, pair);
    RECURVE_UNROLL
    for (uint32_t r = 0; r < kRows; ++r) {
      const float* const inputs = x + r * kSliceInputs + 2 * pair;
      even[r] = _mm512_fmadd_ps(_mm512_set1_ps(inputs[0]), weights.even, even[r]);
      odd[r] = _mm512_fmadd_ps(_mm512_set1_ps(inputs[1]), weights.odd, odd[r]);
    }
  }
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    float* const at = sums + r * kPanelOutputs;
    const __m512 slice = _mm512_add_ps(even[r], odd[r]);
    _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), slice));
  }
}

struct Products {
  static constexpr uint32_t kMaxRows = 12;  // of a pass: as many as registers hold the sums of
  static constexpr uint32_t SliceSteps(uint32_t rows) {
    return rows <= kFewRows ? kFewRowsSteps : 1;
  }

  // The products of kRows rows with one panel.
  template <uint32_t kRows, typename Element>
  RECURVE_AVX512 static void Panel(const Element* panel,  // [slices][2][32 * 16]
                                   const float* x,        // [slices][kRows][32]
                                   uint32_t slices, FetchAhead& ahead,
                                   float* sums /* [kRows][32] */) {
    std::fill_n(sums, kRows * kPanelOutputs, 0.0F);
    for (uint32_t slice = 0; slice < slices; ++slice) {
      if constexpr (kRows > kFewRows) ahead.Step();
      AddSlice<kRows>(panel, x, ahead, sums);
      AddSlice<kRows>(panel + kHalfElements, x, ahead, sums + kHalfPanel);
      panel += size_t{2} * kHalfElements;
      x += size_t{kSliceInputs} * kRows;
    }
  }

  template <typename Element>
  RECURVE_AVX512 static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel,
                                    const float* sums) {
    avx512::Finish<Element>(args, row, panel, _mm512_load_ps(sums),
                            _mm512_load_ps(sums + kHalfPanel));
  }
};

}  // namespace

void Linear(const LinearArgs& args) { products::LinearInPasses<Products>(args); }

}  // namespace recurve::avx512

#endif  // __AVX2__
