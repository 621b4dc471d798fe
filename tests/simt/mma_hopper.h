// SPDX-License-Identifier: Apache-2.0
// What Hopper's tensor cores make of one output of a bf16 matrix instruction with k = 16 and f32
// accumulators: bit for bit, for mma.sync and wgmma alike. The rule is the one published in
// "MMA-Sim: Bit-accurate reference model of tensor cores and matrix cores" (arXiv 2511.10909):
// docs/cuda_measurements.md says what a card made of it.
//
// The 16 products are exact and not normalized: the exponent of a product is the sum of its
// factors' exponents, where a denormal number counts as having the least normal exponent. All
// products and the addend are aligned to the largest exponent among those that are not zero and
// cut, toward zero, to 25 bits after the binary point; the cut terms are summed exactly; the sum is
// cut, toward zero, to f32. Sums past the largest float are infinities, every NaN is 0x7FFFFFFF,
// and a sum that comes to nothing is +0.
#ifndef RECURVE_TESTS_SIMT_MMA_HOPPER_H_
#define RECURVE_TESTS_SIMT_MMA_HOPPER_H_

#include <bit>
#include <cstdint>

#include "engine/base/host_device.h"

namespace recurve {

// The constants of the rule, to be varied by checks that must be able to tell it from others.
struct HopperSum {
  static constexpr int kFractionBits = 25;      // of a term that is aligned to the largest exponent
  static constexpr bool kCutsDown = false;      // terms are cut toward minus infinity, not zero
  static constexpr bool kRoundsToEven = false;  // the sum is rounded to nearest, not cut
  static constexpr bool kZerosAlign = false;  // terms that are zero count for the largest exponent
};

inline constexpr int kMmaDepth = 16;  // products in one sum
inline constexpr uint32_t kMmaNan = 0x7FFFFFFF;

namespace mma_internal {

// A number as sign * significand * 2^exponent, with a significand of `fraction` bits after the
// point.
struct Term {
  int64_t significand = 0;  // signed
  int exponent = 0;
  int fraction = 0;
};

// `term` in units of 2^(largest - kFractionBits).
template <typename Rule>
RECURVE_HOST_DEVICE inline int64_t Align(const Term& term, int largest) {
  const bool negative = term.significand < 0;
  const int64_t magnitude = negative ? -term.significand : term.significand;
  const int right = largest - term.exponent + term.fraction - Rule::kFractionBits;
  if (right <= 0) return term.significand * (int64_t{1} << -right);
  if (right > 62) return Rule::kCutsDown && negative ? -1 : 0;
  const int64_t cut = magnitude >> right;
  const bool inexact = (cut << right) != magnitude;
  return negative ? -cut - static_cast<int64_t>(Rule::kCutsDown && inexact) : cut;
}

// The bits of sum * 2^exponent as f32.
template <typename Rule>
RECURVE_HOST_DEVICE inline uint32_t ToFloat(int64_t sum, int exponent) {
  if (sum == 0) return 0;
  const uint32_t sign = sum < 0 ? 0x80000000U : 0U;
  uint64_t magnitude = sum < 0 ? static_cast<uint64_t>(-sum) : static_cast<uint64_t>(sum);
#if defined(__CUDA_ARCH__)
  const int top = 63 - __clzll(static_cast<long long>(magnitude));  // NOLINT
#else
  const int top = 63 - std::countl_zero(magnitude);  // position of the highest bit
#endif
  // The result's last bit is worth 2^last; denormal results have the least one.
  const int last = top + exponent - 23 > -149 ? top + exponent - 23 : -149;
  const int right = last - exponent;
  if (right > 62) return 0;
  if (right <= 0) {
    magnitude <<= -right;
  } else {
    const uint64_t rest = magnitude & ((uint64_t{1} << right) - 1);
    const uint64_t half = uint64_t{1} << (right - 1);
    magnitude >>= right;
    if (Rule::kRoundsToEven && (rest > half || (rest == half && (magnitude & 1) != 0))) ++magnitude;
  }
  if (magnitude == 0) return 0;
  // The exponent field of a normal number counts from last = -149, where the leading bit adds one.
  const uint64_t bits = (static_cast<uint64_t>(last + 149) << 23) + magnitude;
  return sign | (bits >= 0x7F800000U ? 0x7F800000U : static_cast<uint32_t>(bits));
}

}  // namespace mma_internal

// The bits of c + sum of a[k] * b[k], where a and b hold bf16 bits and c f32 bits. `stride_a` and
// `stride_b` are the distances between consecutive k.
template <typename Rule = HopperSum>
RECURVE_HOST_DEVICE inline uint32_t MmaSum(const uint16_t* a, int stride_a, const uint16_t* b,
                                           int stride_b, uint32_t c) {
  mma_internal::Term terms[kMmaDepth + 1];
  bool nan = false;
  bool infinite[2] = {false, false};  // of either sign
  const auto exponent_of = [](uint32_t field) { return field == 0 ? 1 : static_cast<int>(field); };

  int largest = -1000;
  const auto add = [&](int k, const mma_internal::Term& term) {
    terms[k] = term;
    if (!Rule::kZerosAlign && term.significand == 0) return;
    largest = term.exponent > largest ? term.exponent : largest;
  };
  for (int k = 0; k < kMmaDepth; ++k) {
    const uint32_t x = a[k * stride_a];
    const uint32_t y = b[k * stride_b];
    const uint32_t x_field = (x >> 7) & 0xFF;
    const uint32_t y_field = (y >> 7) & 0xFF;
    const bool negative = ((x ^ y) & 0x8000) != 0;
    if (x_field == 0xFF || y_field == 0xFF) {
      const bool x_nan = x_field == 0xFF && (x & 0x7F) != 0;
      const bool y_nan = y_field == 0xFF && (y & 0x7F) != 0;
      const bool zero = (x & 0x7FFF) == 0 || (y & 0x7FFF) == 0;
      nan = nan || x_nan || y_nan || zero;
      infinite[negative ? 1 : 0] = true;
      continue;
    }
    const int64_t x_significand = (x & 0x7F) | (x_field == 0 ? 0 : 0x80);
    const int64_t y_significand = (y & 0x7F) | (y_field == 0 ? 0 : 0x80);
    const int64_t product = x_significand * y_significand;
    add(k, {negative ? -product : product, exponent_of(x_field) + exponent_of(y_field) - 254, 14});
  }
  const uint32_t c_field = (c >> 23) & 0xFF;
  if (c_field == 0xFF) {
    nan = nan || (c & 0x007FFFFF) != 0;
    infinite[c >> 31] = true;
  } else {
    const int64_t significand = (c & 0x007FFFFF) | (c_field == 0 ? 0 : 0x00800000);
    add(kMmaDepth, {(c >> 31) != 0 ? -significand : significand, exponent_of(c_field) - 127, 23});
  }
  if (nan || (infinite[0] && infinite[1])) return kMmaNan;
  if (infinite[0] || infinite[1]) return infinite[1] ? 0xFF800000U : 0x7F800000U;

  int64_t sum = 0;
  for (const mma_internal::Term& term : terms) {
    if (term.significand != 0) sum += mma_internal::Align<Rule>(term, largest);
  }
  return mma_internal::ToFloat<Rule>(sum, largest - Rule::kFractionBits);
}

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_MMA_HOPPER_H_
