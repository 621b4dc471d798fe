// SPDX-License-Identifier: Apache-2.0
// Products in int8 in AVX-512 with VNNI: up to 12 rows by 32 outputs in registers.
//
// The instruction multiplies bytes without a sign by bytes with one: inputs come with 128 added,
// and what that adds to an output, 128 times the sum of its weights, is taken away first. Sums
// wrap around, so that they are right in the end whatever they were on the way.
#if defined(__AVX2__)

#include <immintrin.h>

#include <cstring>

#include "engine/backend/cpu/kernels/kernels_avx512.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_int8_passes.h"
#include "engine/backend/cpu/kernels/unroll.h"

// As RECURVE_AVX512.
#define RECURVE_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace recurve::avx512 {
namespace {

using products::kHalfBytes;
using products::kPrefetchBytes;
using products::kQuad;
using products::kQuadBytes;
using products::kSliceQuads;

struct Products {
  using Number = uint8_t;
  static constexpr uint32_t kMaxRows = 12;  // of a block: as many as registers hold the sums of
  static constexpr uint32_t kSliceSteps = 1;
  // One row waits for the memory alone, which gives more to several streams of addresses.
  static constexpr uint32_t kRowPanels = 3;
  static constexpr uint32_t kRowSliceSteps = 4;

  RECURVE_VNNI static void ConvertSlice(const int8_t* x /* [64] */, uint8_t* out /* [64] */) {
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));  // adds 128 to each
    _mm512_storeu_si512(out, _mm512_xor_si512(_mm512_loadu_si512(x), sign));
  }

  template <uint32_t kRows, uint32_t kPanels>
  RECURVE_VNNI static void Panels(const products::Int8Args<Number>& args) {
    const __m512i added = _mm512_set1_epi32(-128);
    __m512i first[kPanels][kRows];   // of the first half
    __m512i second[kPanels][kRows];  // of the second half
    RECURVE_UNROLL
    for (uint32_t p = 0; p < kPanels; ++p) {
      const auto* const of_panel =
          reinterpret_cast<const std::byte*>(args.weight_sums) + p * args.panel_bytes;
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        first[p][r] = _mm512_mullo_epi32(_mm512_load_si512(of_panel), added);
        second[p][r] = _mm512_mullo_epi32(_mm512_load_si512(of_panel + kQuadBytes), added);
      }
    }
    const std::byte* panel = args.panel;
    const uint8_t* x = args.x;
    constexpr uint32_t kStepQuads = kSliceQuads / (kPanels == 1 ? kSliceSteps : kRowSliceSteps);
    for (uint32_t slice = 0; slice < args.slices; ++slice) {
      for (uint32_t quad = 0; quad < kSliceQuads; ++quad) {
        if (quad % kStepQuads == 0) args.ahead.Step();
        RECURVE_UNROLL
        for (uint32_t p = 0; p < kPanels; ++p) {
          const std::byte* const at = panel + p * args.panel_bytes + quad * kQuadBytes;
          if constexpr (kRows > 1) {
            const auto* const soon = reinterpret_cast<const char*>(at) + kPrefetchBytes;
            _mm_prefetch(soon, _MM_HINT_T0);
            _mm_prefetch(soon + kHalfBytes, _MM_HINT_T0);
          }
          const __m512i low = _mm512_load_si512(at);
          const __m512i high = _mm512_load_si512(at + kHalfBytes);
          RECURVE_UNROLL
          for (uint32_t r = 0; r < kRows; ++r) {
            int32_t four;
            std::memcpy(&four, x + r * kInt8SliceInputs + quad * kQuad, sizeof(four));
            const __m512i inputs = _mm512_set1_epi32(four);
            first[p][r] = _mm512_dpbusd_epi32(first[p][r], inputs, low);
            second[p][r] = _mm512_dpbusd_epi32(second[p][r], inputs, high);
          }
        }
      }
      panel += 2 * kHalfBytes;
      x += kRows * kInt8SliceInputs;
    }
    RECURVE_UNROLL
    for (uint32_t p = 0; p < kPanels; ++p) {
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        int32_t* const sums = args.sums + (p * kRows + r) * kPanelOutputs;
        _mm512_store_si512(sums, first[p][r]);
        _mm512_store_si512(sums + kHalfPanel, second[p][r]);
      }
    }
  }

  RECURVE_VNNI static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel,
                                  const int32_t* sums) {
    FinishInt8(args, row, panel, sums);
  }
};

}  // namespace

void LinearInt8(const LinearArgs& args) { products::LinearInt8InPasses<Products>(args); }

}  // namespace recurve::avx512

#endif  // __AVX2__
