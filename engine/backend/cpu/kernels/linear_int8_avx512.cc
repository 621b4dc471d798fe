// SPDX-License-Identifier: Apache-2.0
// Products in int8 in AVX-512 with VNNI: up to 12 rows by 32 outputs in registers.
//
// The instruction multiplies bytes without a sign by bytes with one: inputs come with 128 added,
// and what that adds to an output, 128 times the sum of its weights, is taken away first. Sums
// wrap around, so that they are right in the end whatever they were on the way.
#if defined(__AVX2__)

#include <immintrin.h>

#include <cstring>

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_int8_passes.h"

// As in linear_avx512.cc: the file itself is compiled for the baseline.
#define RECURVE_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace recurve::avx512 {
namespace {

using avx2::kHalfBytes;
using avx2::kQuad;
using avx2::kQuadBytes;
using avx2::kSliceQuads;
using avx2::PrefetchNextPanel;

struct Products {
  using Number = uint8_t;
  static constexpr uint32_t kMaxRows = 12;  // of a pass: as many as registers hold the sums of

  static void Convert(const int8_t* x /* [4] */, uint8_t* out /* [4] */) {
    uint32_t bytes;
    std::memcpy(&bytes, x, sizeof(bytes));
    bytes ^= 0x80808080;  // adds 128 to each
    std::memcpy(out, &bytes, sizeof(bytes));
  }

  template <uint32_t kRows>
  RECURVE_VNNI static void Panel(const std::byte* panel, const uint8_t* x, uint32_t slices,
                                 const int32_t* weight_sums, int32_t* sums) {
    const __m512i added = _mm512_set1_epi32(-128);
    __m512i first[kRows];   // of the first half
    __m512i second[kRows];  // of the second half
    RECURVE_UNROLL
    for (uint32_t r = 0; r < kRows; ++r) {
      first[r] = _mm512_mullo_epi32(_mm512_load_si512(weight_sums), added);
      second[r] = _mm512_mullo_epi32(_mm512_load_si512(weight_sums + kHalfPanel), added);
    }
    const std::byte* at = panel;
    size_t line = 0;
    for (uint32_t slice = 0; slice < slices; ++slice, at += 2 * kHalfBytes) {
      for (uint32_t quad = 0; quad < kSliceQuads; ++quad, x += kRows * kQuad) {
        PrefetchNextPanel(panel, slices, line++);
        PrefetchNextPanel(panel, slices, line++);
        const __m512i low = _mm512_load_si512(at + quad * kQuadBytes);
        const __m512i high = _mm512_load_si512(at + kHalfBytes + quad * kQuadBytes);
        RECURVE_UNROLL
        for (uint32_t r = 0; r < kRows; ++r) {
          int32_t inputs;
          std::memcpy(&inputs, x + r * kQuad, sizeof(inputs));
          const __m512i input = _mm512_set1_epi32(inputs);
          first[r] = _mm512_dpbusd_epi32(first[r], input, low);
          second[r] = _mm512_dpbusd_epi32(second[r], input, high);
        }
      }
    }
    RECURVE_UNROLL
    for (uint32_t r = 0; r < kRows; ++r) {
      _mm512_store_si512(sums + r * kPanelOutputs, first[r]);
      _mm512_store_si512(sums + r * kPanelOutputs + kHalfPanel, second[r]);
    }
  }
};

}  // namespace

void LinearInt8(const LinearArgs& args) { avx2::LinearInt8InPasses<Products>(args); }

}  // namespace recurve::avx512

#endif  // __AVX2__
