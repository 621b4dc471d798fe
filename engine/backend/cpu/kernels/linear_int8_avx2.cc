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

using products::kHalfBytes;
using products::kPrefetchBytes;
using products::kQuad;
using products::kQuadBytes;
using products::kSliceQuads;

constexpr uint32_t kVectorOutputs = 4;  // that a vector of 16 bits has a quad of
constexpr uint32_t kHalfVectors = kHalfPanel / kVectorOutputs;

constexpr uint32_t kPanelVectors = kPanelOutputs / kVectorOutputs;
constexpr uint32_t kStepVectors = 2;  // with which one step ahead is taken, in each slice

// sums[row][v]: two sums each of outputs first + 4 * v .. first + 4 * v + 3, over all slices.
template <uint32_t kRows, uint32_t kVectors>
inline void AddQuads(const std::byte* panel, uint32_t first, const int16_t* x, uint32_t slices,
                     FetchAhead& ahead, __m256i sums[kRows][kVectors]) {
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) sums[r][v] = _mm256_setzero_si256();
  }
  const std::byte* slice_begin =
      panel + first / kHalfPanel * kHalfBytes + size_t{first % kHalfPanel} * kQuad;
  for (uint32_t slice = 0; slice < slices; ++slice, slice_begin += 2 * kHalfBytes) {
    for (uint32_t v = 0; v < kVectors; v += kStepVectors) ahead.Step();
    const std::byte* at = slice_begin;
    for (uint32_t quad = 0; quad < kSliceQuads; ++quad, at += kQuadBytes) {
      _mm_prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes, _MM_HINT_T0);
      __m256i wide[kVectors];
      RECURVE_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v) {
        const auto* const bytes = reinterpret_cast<const __m128i*>(at) + v;
        wide[v] = _mm256_cvtepi8_epi16(_mm_load_si128(bytes));
      }
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        int64_t inputs;
        std::memcpy(&inputs, x + r * kInt8SliceInputs + quad * kQuad, sizeof(inputs));
        const __m256i input = _mm256_set1_epi64x(inputs);
        RECURVE_UNROLL
        for (uint32_t v = 0; v < kVectors; ++v) {
          sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(input, wide[v]));
        }
      }
    }
    x += kRows * kInt8SliceInputs;
  }
}

// kVectors * 4 outputs of kRows rows from output `first` on.
template <uint32_t kRows, uint32_t kVectors>
inline void Outputs(const std::byte* panel, uint32_t first, const int16_t* x, uint32_t slices,
                    FetchAhead& ahead, int32_t* sums /* [kRows][32] */) {
  __m256i pairs[kRows][kVectors];
  AddQuads<kRows, kVectors>(panel, first, x, slices, ahead, pairs);
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
  static constexpr uint32_t kMaxRows = 4;  // of a block: as many as registers hold the sums of
  static constexpr uint32_t kSliceSteps = kPanelVectors / kStepVectors;
  static constexpr uint32_t kRowPanels = 1;
  static constexpr uint32_t kRowSliceSteps = kSliceSteps;

  static void ConvertSlice(const int8_t* x /* [64] */, int16_t* out /* [64] */) {
    for (uint32_t k = 0; k < kInt8SliceInputs; k += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + k));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + k), _mm256_cvtepi8_epi16(bytes));
    }
  }

  template <uint32_t kRows, uint32_t kPanels>
  static void Panels(const products::Int8Args<Number>& args) {
    constexpr uint32_t kVectors = kRows <= 3 ? kHalfVectors : kHalfVectors / 2;
    for (uint32_t first = 0; first < kPanelOutputs; first += kVectors * kVectorOutputs) {
      Outputs<kRows, kVectors>(args.panel, first, args.x, args.slices, args.ahead, args.sums);
    }
  }

  static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const int32_t* sums) {
    products::FinishInt8(args, row, panel, sums);
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

void LinearInt8(const LinearArgs& args) { products::LinearInt8InPasses<Products>(args); }

}  // namespace recurve::avx2

#endif  // __AVX2__
