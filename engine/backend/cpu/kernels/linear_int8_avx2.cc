// SPDX-License-Identifier: Apache-2.0
// Products in int8 in AVX2: 4 rows by 8 outputs, or up to 3 by 16, in registers.
//
// Bytes are widened to 16 bits, of which one instruction multiplies pairs and adds them up: those
// that multiply bytes themselves saturate. A quad of inputs leaves two sums for each output, which
// are added at the end.
#if defined(__AVX2__)

#include <algorithm>
#include <cstring>

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_int8_passes.h"

namespace recurve::avx2 {
namespace {

constexpr uint32_t kVectorOutputs = 4;  // that a vector of 16 bits has a quad of
constexpr uint32_t kHalfVectors = kHalfPanel / kVectorOutputs;

// sums[row][v]: two sums each of outputs first + 4 * v .. first + 4 * v + 3, over all slices.
template <uint32_t kRows, uint32_t kVectors>
inline void AddQuads(const std::byte* panel, uint32_t first, const int16_t* x, uint32_t slices,
                     __m256i sums[kRows][kVectors]) {
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) sums[r][v] = _mm256_setzero_si256();
  }
  const std::byte* slice_begin =
      panel + first / kHalfPanel * kHalfBytes + size_t{first % kHalfPanel} * kQuad;
  // As many lines as these outputs have.
  size_t line = PanelLines(slices) * first / kPanelOutputs;
  for (uint32_t slice = 0; slice < slices; ++slice, slice_begin += 2 * kHalfBytes) {
    const std::byte* at = slice_begin;
    for (uint32_t quad = 0; quad < kSliceQuads; ++quad, at += kQuadBytes, x += kRows * kQuad) {
      if (kVectors == kHalfVectors || quad % 2 == 0) PrefetchNextPanel(panel, slices, line++);
      __m256i wide[kVectors];
      RECURVE_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v) {
        const auto* const bytes = reinterpret_cast<const __m128i*>(at) + v;
        wide[v] = _mm256_cvtepi8_epi16(_mm_load_si128(bytes));
      }
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        int64_t inputs;
        std::memcpy(&inputs, x + r * kQuad, sizeof(inputs));
        const __m256i input = _mm256_set1_epi64x(inputs);
        RECURVE_UNROLL
        for (uint32_t v = 0; v < kVectors; ++v) {
          sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(input, wide[v]));
        }
      }
    }
  }
}

// kVectors * 4 outputs of kRows rows from output `first` on.
template <uint32_t kRows, uint32_t kVectors>
inline void Outputs(const std::byte* panel, uint32_t first, const int16_t* x, uint32_t slices,
                    int32_t* sums /* [kRows][32] */) {
  __m256i pairs[kRows][kVectors];
  AddQuads<kRows, kVectors>(panel, first, x, slices, pairs);
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t v = 0; v < kVectors; v += 2) {
      const __m256i added = _mm256_hadd_epi32(pairs[r][v], pairs[r][v + 1]);  // 0 1 4 5 2 3 6 7
      auto* const out =
          reinterpret_cast<__m256i*>(sums + size_t{r} * kPanelOutputs + first + v * kVectorOutputs);
      _mm256_store_si256(out, _mm256_permute4x64_epi64(added, 0xD8));
    }
  }
}

struct Products {
  using Number = int16_t;
  static constexpr uint32_t kMaxRows = 4;  // of a pass: as many as registers hold the sums of

  static void Convert(const int8_t* x /* [4] */, int16_t* out /* [4] */) {
    int32_t bytes;
    std::memcpy(&bytes, x, sizeof(bytes));
    const int64_t wide = _mm_cvtsi128_si64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(bytes)));
    std::memcpy(out, &wide, sizeof(wide));
  }

  template <uint32_t kRows>
  static void Panel(const std::byte* panel, const int16_t* x, uint32_t slices,
                    const int32_t* /*weight_sums*/, int32_t* sums) {
    constexpr uint32_t kVectors = kRows <= 3 ? kHalfVectors : kHalfVectors / 2;
    for (uint32_t first = 0; first < kPanelOutputs; first += kVectors * kVectorOutputs) {
      Outputs<kRows, kVectors>(panel, first, x, slices, sums);
    }
  }
};

// The greatest MagnitudeBits of a row.
uint32_t GreatestMagnitude(const float* x, uint32_t n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i eight = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(x + i));
    eight = _mm256_max_epu32(eight, _mm256_and_si256(bits, magnitude));
  }
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), eight);
  uint32_t greatest = *std::max_element(lanes, lanes + 8);
  for (; i < n; ++i) greatest = std::max(greatest, MagnitudeBits(x[i]));
  return greatest;
}

}  // namespace

float Quantize(const float* x, uint32_t n, int8_t* q) {
  const RowScale row = RowScaleOf(GreatestMagnitude(x, n));
  if (row.inverse == 0.0F) {
    std::fill_n(q, n, int8_t{0});
    return row.scale;
  }
  const __m256 inverse = _mm256_set1_ps(row.inverse);
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i whole = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(q + i), _mm_packs_epi16(words, words));
  }
  for (; i < n; ++i) q[i] = QuantizeNumber(x[i], row.inverse);
  return row.scale;
}

void LinearInt8(const LinearArgs& args) { LinearInt8InPasses<Products>(args); }

}  // namespace recurve::avx2

#endif  // __AVX2__
