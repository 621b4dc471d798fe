// SPDX-License-Identifier: Apache-2.0
// Products in NEON: up to 3 rows by 16 outputs in registers.
//
// Half a panel gives each row four vectors of outputs, and each output an even and an odd chain, so
// that 3 rows fill 24 of the 32 registers.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <algorithm>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/backend/cpu/kernels/linear_passes.h"
#include "engine/backend/cpu/kernels/unroll.h"

namespace recurve::neon {
namespace {

using products::kHalfElements;

constexpr uint32_t kWidth = 4;
constexpr uint32_t kVectors = kHalfPanel / kWidth;
constexpr uint32_t kPairs = kSliceInputs / 2;

// Vector `v` of the weights of inputs 2 * pair and 2 * pair + 1.
struct Weights {
  float32x4_t even;
  float32x4_t odd;
};
inline Weights LoadWeights(const Bf16* half, uint32_t pair, uint32_t v) {
  const uint16x8_t pairs = vld1q_u16(half + (pair * kHalfPanel + v * kWidth) * 2);
  const uint32x4_t raw = vreinterpretq_u32_u16(pairs);
  return {vreinterpretq_f32_u32(vshlq_n_u32(raw, 16)),
          vreinterpretq_f32_u32(vandq_u32(raw, vdupq_n_u32(0xFFFF0000)))};
}
inline Weights LoadWeights(const float* half, uint32_t pair, uint32_t v) {
  const float* const at = half + size_t{2} * pair * kHalfPanel + v * kWidth;
  return {vld1q_f32(at), vld1q_f32(at + kHalfPanel)};
}

// Adds one slice of inputs of half a panel to the sums.
template <uint32_t kRows, typename Element>
void AddSlice(const Element* half, const float* x /* [kRows][32] */,
              float* sums /* [kRows][32], from the half's first output on */) {
  float32x4_t even[kRows][kVectors];
  float32x4_t odd[kRows][kVectors];
  RECURVE_UNROLL
  for (uint32_t i = 0; i < kRows * kVectors; ++i) {
    even[i / kVectors][i % kVectors] = odd[i / kVectors][i % kVectors] = vdupq_n_f32(0.0F);
  }
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const Weights weights = LoadWeights(half, pair, v);
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        const float* const inputs = x + r * kSliceInputs + 2 * pair;
        even[r][v] = vfmaq_n_f32(even[r][v], weights.even, inputs[0]);
        odd[r][v] = vfmaq_n_f32(odd[r][v], weights.odd, inputs[1]);
      }
    }
  }
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      float* const at = sums + r * kPanelOutputs + v * kWidth;
      vst1q_f32(at, vaddq_f32(vld1q_f32(at), vaddq_f32(even[r][v], odd[r][v])));
    }
  }
}

struct Products {
  static constexpr uint32_t kMaxRows = 3;  // of a block: as many as registers hold the sums of
  static constexpr uint32_t SliceSteps(uint32_t /*rows*/) { return 1; }

  // The products of kRows rows with one panel.
  template <uint32_t kRows, typename Element>
  static void Panel(const Element* panel,  // [slices][2][32 * 16]
                    const float* x,        // [slices][kRows][32]
                    uint32_t slices, FetchAhead& ahead, float* sums /* [kRows][32] */) {
    std::fill_n(sums, kRows * kPanelOutputs, 0.0F);
    for (uint32_t slice = 0; slice < slices; ++slice) {
      ahead.Step();
      AddSlice<kRows>(panel, x, sums);
      AddSlice<kRows>(panel + kHalfElements, x, sums + kHalfPanel);
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

}  // namespace recurve::neon

#endif  // __aarch64__
