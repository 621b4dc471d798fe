// SPDX-License-Identifier: Apache-2.0
// The arithmetic of a forward pass: each sum in the one order that all backends keep, so that all
// give the same bits. Compiled for host and device.
//
// In floats, round to nearest even, denormals read and written as zero; fma is one rounding, and
// nothing else may be contracted. A NaN is a NaN: its payload is undefined.
#ifndef RECURVE_ENGINE_BACKEND_ARITHMETIC_H_
#define RECURVE_ENGINE_BACKEND_ARITHMETIC_H_

#include <cstdint>

#include "engine/base/host_device.h"
#include "engine/base/math.h"

namespace recurve {

// ---- bfloat16 as its bits: the upper half of a float. ----

using Bf16 = uint16_t;

RECURVE_HOST_DEVICE inline float Bf16ToFloat(Bf16 bits) {
  return FloatFromBits(static_cast<uint32_t>(bits) << 16);
}

// Round to nearest, ties to even; any NaN becomes the quiet NaN 0x7FC0 with its sign. Integer
// operations alone: denormals are rounded like other numbers in every floating-point mode.
RECURVE_HOST_DEVICE inline Bf16 FloatToBf16(float x) {
  const uint32_t bits = FloatBits(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<Bf16>((bits >> 16 & 0x8000) | 0x7FC0);
  return static_cast<Bf16>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// One element of weights, activations, keys or values as a float, and back.
RECURVE_HOST_DEVICE inline float Widen(float x) { return x; }
RECURVE_HOST_DEVICE inline float Widen(Bf16 x) { return Bf16ToFloat(x); }
RECURVE_HOST_DEVICE inline float Widen(int8_t x) { return x; }
RECURVE_HOST_DEVICE inline void StoreRounded(float x, float* out) { *out = x; }
RECURVE_HOST_DEVICE inline void StoreRounded(float x, Bf16* out) { *out = FloatToBf16(x); }

// ---- Lane sums: of norms, of a router's outputs, of probabilities. ----
//
// The lane sum of v[0 .. n): 16 chains, chain l adding v[l], v[l + 16], ... in this order from 0
// (with fma where v is a product), then s[l] += s[l + 8] for l < 8, s[l] += s[l + 4] for l < 4,
// s[0] += s[2] and s[1] += s[3], s[0] += s[1].

inline constexpr uint32_t kLanes = 16;

// The end of a lane sum: adds up the chains.
RECURVE_HOST_DEVICE inline float AddLanes(float* s /* [kLanes], overwritten */) {
  for (uint32_t width = kLanes / 2; width > 0; width /= 2) {
    for (uint32_t l = 0; l < width; ++l) s[l] += s[l + width];
  }
  return s[0];
}

// The lane sum of a * b.
RECURVE_HOST_DEVICE inline float LaneDot(const float* a /* [n] */, const float* b /* [n] */,
                                         uint32_t n) {
  float lanes[kLanes] = {};
  for (uint32_t i = 0; i < n; ++i) lanes[i % kLanes] = Fma(a[i], b[i], lanes[i % kLanes]);
  return AddLanes(lanes);
}

// ---- Pair sums: of everything that is a product with a matrix, a key or a value. ----

// e + o, where e is the chain of fma over even i from 0, o the same over odd i: of the products
// a(0) * b(0), ..., a(n - 1) * b(n - 1).
// - W x: for each slice of kSliceInputs inputs in order acc = acc + PairSum, from 0.
// - The score of a key: PairSum over the dimensions times ScoreScale.
// - A dimension of the attended values: PairSum over the entries of probability and value, times
//   1 / the lane sum of the probabilities.
// Of keys and values in int8, the pair sums are of their whole numbers. A key's scale multiplies
// the score, after ScoreScale; a value's scale multiplies the entry's probability, after the lane
// sum and before the pair sum.
template <typename A, typename B>
RECURVE_HOST_DEVICE inline float PairSum(uint32_t n, A a, B b) {
  float chain[2] = {0.0F, 0.0F};
  for (uint32_t i = 0; i < n; ++i) chain[i % 2] = Fma(a(i), b(i), chain[i % 2]);
  return chain[0] + chain[1];
}

inline constexpr uint32_t kSliceInputs = 32;

// ---- Whole numbers in int8. ----
//
// A row, of an output's weights, of a token's inputs, of a key or a value, is whole numbers q[i]
// and a scale: QuantizeRow. W x: Int8Product of the sum of q_w[i] * q_x[i], which is exact.

// More inputs could overflow the sum.
inline constexpr uint32_t kMaxInt8Inputs = uint32_t{1} << 17;
static_assert(uint64_t{127} * 127 * kMaxInt8Inputs < uint64_t{1} << 31);

// Of a row's numbers, their bits without the sign; the greatest says how the row is quantized.
RECURVE_HOST_DEVICE inline uint32_t MagnitudeBits(float x) { return FloatBits(x) & 0x7FFFFFFF; }

// x[i] is about q[i] * scale. `inverse` is 0 where all q[i] are.
struct RowScale {
  float scale;
  float inverse;
};

// Of a row whose greatest MagnitudeBits are `greatest`. A row with an infinity or a NaN is NaN: its
// scale is. A row without a number of 2^-100 or more is zero, so that denormals play no part.
RECURVE_HOST_DEVICE inline RowScale RowScaleOf(uint32_t greatest) {
  if (greatest >= 0x7F800000) return {math_internal::kNan, 0.0F};
  const float largest = FloatFromBits(greatest);
  if (largest < 0x1p-100F) return {0.0F, 0.0F};
  return {largest / 127.0F, 127.0F / largest};
}

// x * inverse, rounded to nearest even: from -127 to 127.
RECURVE_HOST_DEVICE inline int8_t QuantizeNumber(float x, float inverse) {
  return static_cast<int8_t>((x * inverse + math_internal::kRound) - math_internal::kRound);
}

// Quantizes a row and returns its scale.
RECURVE_HOST_DEVICE inline float QuantizeRow(const float* x /* [n] */, uint32_t n,
                                             int8_t* q /* [n] */) {
  uint32_t greatest = 0;
  for (uint32_t i = 0; i < n; ++i) {
    greatest = MagnitudeBits(x[i]) > greatest ? MagnitudeBits(x[i]) : greatest;
  }
  const RowScale row = RowScaleOf(greatest);
  for (uint32_t i = 0; i < n; ++i) {
    q[i] = row.inverse == 0.0F ? int8_t{0} : QuantizeNumber(x[i], row.inverse);
  }
  return row.scale;
}

// The sum rounded to a float, times the scale of the inputs, times that of the weights.
RECURVE_HOST_DEVICE inline float Int8Product(int32_t sum, float input_scale, float weight_scale) {
  return static_cast<float>(sum) * input_scale * weight_scale;
}

// ---- The rest ----

RECURVE_HOST_DEVICE inline float SquareRoot(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}

// The factor of RMSNorm for the lane sum of the squares of n inputs. An output is
// x[i] * InverseRms * gamma[i], in this order.
RECURVE_HOST_DEVICE inline float InverseRms(float square_sum, uint32_t n, float epsilon) {
  return 1.0F / SquareRoot(square_sum / static_cast<float>(n) + epsilon);
}

// The scale of attention scores.
RECURVE_HOST_DEVICE inline float ScoreScale(uint32_t head_dim) {
  return 1.0F / SquareRoot(static_cast<float>(head_dim));
}

// What a head's query adds to the attention mass of an entry with weight p, when the weights' sum
// is 1 / inverse: in units of 2^-24, so that sums of it do not depend on their order.
RECURVE_HOST_DEVICE inline uint64_t MassShare(float p, float inverse) {
  return static_cast<uint64_t>(p * inverse * 0x1p24F);
}

// Rotates dimension i of a head, a, and dimension i + head_dim / 2, b.
RECURVE_HOST_DEVICE inline void Rotate(float cos, float sin, float& a, float& b) {
  const float before = a;
  a = Fma(a, cos, -(b * sin));
  b = Fma(b, cos, before * sin);
}

// The exact GELU.
RECURVE_HOST_DEVICE inline float Gelu(float x) {
  return (0.5F * x) * (1.0F + Erf(x * 0.707106781F));
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_ARITHMETIC_H_
