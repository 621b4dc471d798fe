// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes at a time: twins, bit for bit, of functions of engine/base/math.h and
// engine/backend/arithmetic.h, and what becomes of a product's sums. For the AVX-512 files of this
// folder.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_AVX512_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_AVX512_H_

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

// Functions with vectors of 512 bits say so one by one: their files are compiled for the baseline,
// so that no function of a header that other files use as well needs more than that. Some
// operations appear in their form with a mask of all lanes: the plain one is, in GCC 12's header,
// one of an undefined vector, which it warns of.
#define RECURVE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

namespace recurve::avx512 {

inline constexpr __mmask16 kAll = 0xFFFF;

// Twin of Exp.
RECURVE_AVX512 inline __m512 Exp16(__m512 x) {
  namespace m = math_internal;
  const __m512 round = _mm512_set1_ps(m::kRound);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(m::kLog2E), round);
  const __m512 n = _mm512_sub_ps(shifted, round);
  const __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(m::kLn2Low),
                                    _mm512_fnmadd_ps(n, _mm512_set1_ps(m::kLn2High), x));
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(m::kExp4), r, _mm512_set1_ps(m::kExp3));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(m::kExp2));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(m::kExp1));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(m::kExp0));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0F));
  const __m512i exponent = _mm512_maskz_slli_epi32(kAll, _mm512_castps_si512(shifted), 23);
  const __m512 y = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
  const __mmask16 low = _mm512_cmp_ps_mask(x, _mm512_set1_ps(m::kExpLow), _CMP_LT_OQ);
  const __mmask16 high = _mm512_cmp_ps_mask(x, _mm512_set1_ps(m::kExpHigh), _CMP_GT_OQ);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512 in_range = _mm512_maskz_mov_ps(static_cast<__mmask16>(~low), y);
  const __m512 bounded =
      _mm512_mask_mov_ps(in_range, high, _mm512_set1_ps(std::numeric_limits<float>::infinity()));
  return _mm512_mask_mov_ps(bounded, nan, x);
}

// Twin of Silu.
RECURVE_AVX512 inline __m512 Silu16(__m512 x) {
  const __m512 negative = _mm512_xor_ps(x, _mm512_set1_ps(-0.0F));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0F), Exp16(negative)));
}

// Rounds and stores sixteen elements of the type of `out`.
RECURVE_AVX512 inline void StoreRounded(__m512 x, float* out) { _mm512_storeu_ps(out, x); }
RECURVE_AVX512 inline void StoreRounded(__m512 x, Bf16* out) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i upper = _mm512_maskz_srli_epi32(kAll, bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
  const __m512i sign = _mm512_and_si512(upper, _mm512_set1_epi32(0x8000));
  const __m512i nan = _mm512_or_si512(sign, _mm512_set1_epi32(0x7FC0));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i rounded =
      _mm512_mask_mov_epi32(_mm512_maskz_srli_epi32(kAll, sum, 16), is_nan, nan);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_maskz_cvtepi32_epi16(kAll, rounded));
}

// What becomes of the sums of one row and panel, those of its first and second half. Twin of
// products::Finish.
template <typename Element>
RECURVE_AVX512 inline void Finish(const LinearArgs& args, uint32_t row, uint32_t panel,
                                  __m512 first, __m512 second) {
  if (args.epilogue == Epilogue::kSilu) {
    Element* const y = static_cast<Element*>(args.y) + row * args.y_stride + panel * kHalfPanel;
    StoreRounded(_mm512_mul_ps(Silu16(first), second), y);
    return;
  }
  const uint32_t outputs = std::min(kPanelOutputs, args.weights->outputs() - panel * kPanelOutputs);
  const auto written = static_cast<uint32_t>((uint64_t{1} << outputs) - 1);
  const auto low = static_cast<__mmask16>(written);
  const auto high = static_cast<__mmask16>(written >> kHalfPanel);
  float* const y = static_cast<float*>(args.y) + row * args.y_stride + panel * kPanelOutputs;
  if (args.epilogue == Epilogue::kAdd) {
    first = _mm512_add_ps(_mm512_maskz_loadu_ps(low, y), first);
    second = _mm512_add_ps(_mm512_maskz_loadu_ps(high, y + kHalfPanel), second);
  }
  _mm512_mask_storeu_ps(y, low, first);
  _mm512_mask_storeu_ps(y + kHalfPanel, high, second);
}

// Twin of products::FinishInt8.
RECURVE_AVX512 inline void FinishInt8(const LinearArgs& args, uint32_t row, uint32_t panel,
                                      const int32_t* sums /* [32], aligned to 64 bytes */) {
  const __m512 input_scale = _mm512_set1_ps(args.x_scales[row]);
  const float* const scales = args.weights->scales(panel);
  __m512 halves[2];
  for (uint32_t half = 0; half < 2; ++half) {
    const uint32_t j = half * kHalfPanel;
    const __m512 sum = _mm512_maskz_cvtepi32_ps(kAll, _mm512_load_si512(sums + j));
    halves[half] = _mm512_mul_ps(_mm512_mul_ps(sum, input_scale), _mm512_load_ps(scales + j));
  }
  Finish<float>(args, row, panel, halves[0], halves[1]);
}

}  // namespace recurve::avx512

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_AVX512_H_
