// SPDX-License-Identifier: Apache-2.0
// Eight lanes at a time: twins, bit for bit, of functions of engine/base/math.h and
// engine/backend/arithmetic.h. For the AVX2 files of this folder and their tests.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_AVX2_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_AVX2_H_

#include <immintrin.h>

#include <limits>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/backend/cpu/kernels/unroll.h"
#include "engine/base/math.h"

namespace recurve::avx2 {

// Twin of Exp.
inline __m256 Exp8(__m256 x) {
  namespace m = math_internal;
  const __m256 round = _mm256_set1_ps(m::kRound);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(m::kLog2E), round);
  const __m256 n = _mm256_sub_ps(shifted, round);
  const __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(m::kLn2Low),
                                    _mm256_fnmadd_ps(n, _mm256_set1_ps(m::kLn2High), x));
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(m::kExp4), r, _mm256_set1_ps(m::kExp3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(m::kExp2));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(m::kExp1));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(m::kExp0));
  p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0F));
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  __m256 y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  y = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(m::kExpLow), _CMP_LT_OQ), y);
  y = _mm256_blendv_ps(y, _mm256_set1_ps(std::numeric_limits<float>::infinity()),
                       _mm256_cmp_ps(x, _mm256_set1_ps(m::kExpHigh), _CMP_GT_OQ));
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

// Twin of Silu.
inline __m256 Silu8(__m256 x) {
  const __m256 negative = _mm256_xor_ps(x, _mm256_set1_ps(-0.0F));
  return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0F), Exp8(negative)));
}

// Twin of FloatToBf16: eight bf16 in the low halves of 32 bits.
inline __m256i RoundToBf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
  const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x8000));
  const __m256i nan = _mm256_or_si256(sign, _mm256_set1_epi32(0x7FC0));
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
  const __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7F800000));
  return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), nan, is_nan);
}

// Rounds and stores eight elements of the type of `out`.
inline void StoreRounded(__m256 x, float* out) { _mm256_storeu_ps(out, x); }
inline void StoreRounded(__m256 x, Bf16* out) {
  const __m256i rounded = RoundToBf16(x);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), packed);
}

// The end of a lane sum: lanes 0 .. 7 in `low`, 8 .. 15 in `high`.
inline float AddLanes(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// The even and the odd elements of 16: eight interleaved pairs, as floats.
struct EvenOdd {
  __m256 even;
  __m256 odd;
};
inline __m256 EvenOf(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
inline __m256 OddOf(__m256i pairs) {
  return _mm256_castsi256_ps(
      _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int32_t>(0xFFFF0000))));
}
inline EvenOdd LoadPairs(const Bf16* pairs /* [8][2] */) {
  const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs));
  return {EvenOf(raw), OddOf(raw)};
}
// All ones in the first `count` (0 .. 8) lanes.
inline __m256i FirstLanes(uint32_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count)), lane);
}

}  // namespace recurve::avx2

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_AVX2_H_
