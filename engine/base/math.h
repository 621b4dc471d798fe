// SPDX-License-Identifier: Apache-2.0
// Elementary functions whose bits are the same on every machine: built of correctly rounded
// operations alone (+, -, *, /, fma) in one written order, where libm picks a variant for each
// processor. Compiled for host and device. The 8-lane twins of Exp and Silu in engine/backend/cpu
// give the same bits.
//
// For arguments of magnitude 2^-125 and more no result is denormal (those of Exp, Exp2 and Sigmoid
// that would be are zero), so the bits do not depend on flush-to-zero modes. Coefficients are
// minimax fits made for these intervals, rounded to float.
#ifndef RECURVE_ENGINE_BASE_MATH_H_
#define RECURVE_ENGINE_BASE_MATH_H_

#include <bit>
#include <cstdint>
#include <limits>

#include "engine/base/host_device.h"

namespace recurve {

// a * b + c, rounded once.
RECURVE_HOST_DEVICE inline float Fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

RECURVE_HOST_DEVICE inline double Fma(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return __fma_rn(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}

RECURVE_HOST_DEVICE inline uint32_t FloatBits(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return std::bit_cast<uint32_t>(x);
#endif
}

RECURVE_HOST_DEVICE inline float FloatFromBits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

RECURVE_HOST_DEVICE inline uint64_t DoubleBits(double x) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint64_t>(__double_as_longlong(x));
#else
  return std::bit_cast<uint64_t>(x);
#endif
}

RECURVE_HOST_DEVICE inline double DoubleFromBits(uint64_t bits) {
#if defined(__CUDA_ARCH__)
  return __longlong_as_double(static_cast<long long>(bits));
#else
  return std::bit_cast<double>(bits);
#endif
}

namespace math_internal {

// As constants, since device code may not call numeric_limits.
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Adding and taking away 1.5 * 2^23 (2^52) rounds to the nearest integer, ties to even.
inline constexpr float kRound = 12582912.0F;
inline constexpr double kRoundDouble = 6755399441055744.0;

// exp(x) is normal and finite for x in [kExpLow, kExpHigh].
inline constexpr float kExpLow = -87.3365402F;  // the least float above ln 2^-126
inline constexpr float kExpHigh = 88.7228317F;  // the largest float below ln 2^128
inline constexpr float kLog2E = 1.44269502F;
// ln 2 in two parts; the first has 9 trailing zero bits, so n * kLn2High is exact for |n| < 2^9.
inline constexpr float kLn2High = 0.693145752F;
inline constexpr float kLn2Low = 1.42860677e-06F;
// exp(r) = 1 + r + r^2 * poly(r) for |r| <= ln 2 / 2, poly's coefficients from the constant one on;
// relative error 3.1e-9.
inline constexpr float kExp0 = 0.5F;
inline constexpr float kExp1 = 0.166665196F;
inline constexpr float kExp2 = 0.0416683927F;
inline constexpr float kExp3 = 0.00836878084F;
inline constexpr float kExp4 = 0.00138144649F;

inline constexpr double kLn2DoubleHigh = 0x1.62e42fee00000p-1;  // 20 trailing zero bits
inline constexpr double kLn2DoubleLow = 0x1.a39ef35793c76p-33;

// p * 2^n for a product that is a normal number; of `n`, in two's complement, the low 9 bits count.
RECURVE_HOST_DEVICE inline float ScaleByPowerOf2(float p, uint32_t n) {
  return FloatFromBits(FloatBits(p) + (n << 23));
}

// 2^x for -126 <= x < 128: Exp2 without its guards and loops, so that loops over it become vectors.
RECURVE_HOST_DEVICE inline float Exp2InRange(float x) {
  const float shifted = x + kRound;
  const float r = x - (shifted - kRound);  // exact
  // 2^r = 1 + r * poly(r) for |r| <= 1/2, relative error 2.0e-9.
  float p = Fma(0.000153532572F, r, 0.00133990042F);
  p = Fma(p, r, 0.00961843878F);
  p = Fma(p, r, 0.0555033199F);
  p = Fma(p, r, 0.240226477F);
  p = Fma(p, r, 0.693147182F);
  return ScaleByPowerOf2(Fma(p, r, 1.0F), FloatBits(shifted));
}

// exp(x) for |x| <= 700, relative error about 2e-16: Taylor series of degree 13 after reduction.
RECURVE_HOST_DEVICE inline double ExpDouble(double x) {
  const double n = (x * 1.4426950408889634 + kRoundDouble) - kRoundDouble;
  const double r = Fma(-n, kLn2DoubleLow, Fma(-n, kLn2DoubleHigh, x));
  constexpr double kInverse[] = {0,       1.0,     1.0 / 2, 1.0 / 3,  1.0 / 4,  1.0 / 5,  1.0 / 6,
                                 1.0 / 7, 1.0 / 8, 1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12, 1.0 / 13};
  double sum = 1.0;
  for (int k = 13; k >= 1; --k) sum = Fma(sum, r * kInverse[k], 1.0);
  return DoubleFromBits(DoubleBits(sum) + (static_cast<uint64_t>(static_cast<int64_t>(n)) << 52));
}

// ln(x) for a positive normal x, relative error about 3e-16: 2 atanh((m - 1) / (m + 1)) as its
// series.
RECURVE_HOST_DEVICE inline double LogDouble(double x) {
  constexpr uint64_t kSqrtHalf = 0x3FE6A09E667F3BCD;
  const uint64_t shifted = DoubleBits(x) - kSqrtHalf;
  const int64_t exponent = static_cast<int64_t>(shifted) >> 52;
  const double m = DoubleFromBits((shifted & 0x000FFFFFFFFFFFFF) + kSqrtHalf);
  const double s = (m - 1.0) / (m + 1.0);
  const double square = s * s;
  constexpr double kOdd[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13,
                             1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
  double sum = kOdd[10];
  for (int k = 9; k >= 0; --k) sum = Fma(sum, square, kOdd[k]);
  const double e = static_cast<double>(exponent);
  const double log_m = Fma(2.0 * s * square, sum, 2.0 * s);
  return Fma(e, kLn2DoubleHigh, Fma(e, kLn2DoubleLow, log_m));
}

// Angle minus the nearest multiple of pi / 2, and that multiple modulo 4.
struct ReducedAngle {
  double r;
  uint32_t quadrant;
};
RECURVE_HOST_DEVICE inline ReducedAngle ReduceAngle(double x) {
  const double n = (x * 0.63661977236758138 + kRoundDouble) - kRoundDouble;
  const double high = Fma(-n, 0x1.921fb54442d18p+0, x);
  return {Fma(-n, 0x1.1a62633145c07p-54, high), static_cast<uint32_t>(static_cast<int64_t>(n) & 3)};
}

// Taylor series for |r| <= pi / 4, to 1e-16.
RECURVE_HOST_DEVICE inline double SinReduced(double r) {
  constexpr double kStep[] = {1.0 / (2 * 3),   1.0 / (4 * 5),   1.0 / (6 * 7),   1.0 / (8 * 9),
                              1.0 / (10 * 11), 1.0 / (12 * 13), 1.0 / (14 * 15), 1.0 / (16 * 17)};
  const double square = r * r;
  double sum = 1.0;
  for (int k = 7; k >= 0; --k) sum = Fma(-sum, square * kStep[k], 1.0);
  return r * sum;
}
RECURVE_HOST_DEVICE inline double CosReduced(double r) {
  constexpr double kStep[] = {1.0 / (1 * 2),   1.0 / (3 * 4),   1.0 / (5 * 6),
                              1.0 / (7 * 8),   1.0 / (9 * 10),  1.0 / (11 * 12),
                              1.0 / (13 * 14), 1.0 / (15 * 16), 1.0 / (17 * 18)};
  const double square = r * r;
  double sum = 1.0;
  for (int k = 8; k >= 0; --k) sum = Fma(-sum, square * kStep[k], 1.0);
  return sum;
}

}  // namespace math_internal

// e^x within 1.1 units in the last place; 0 below kExpLow, infinity above kExpHigh, NaN for NaN.
RECURVE_HOST_DEVICE inline float Exp(float x) {
  namespace m = math_internal;
  const float shifted = Fma(x, m::kLog2E, m::kRound);
  const float n = shifted - m::kRound;
  const float r = Fma(-n, m::kLn2Low, Fma(-n, m::kLn2High, x));
  float p = Fma(Fma(Fma(Fma(m::kExp4, r, m::kExp3), r, m::kExp2), r, m::kExp1), r, m::kExp0);
  p = Fma(p, r * r, r) + 1.0F;
  // Chosen at the end, so that a device needs no branch.
  float y = m::ScaleByPowerOf2(p, FloatBits(shifted));  // its low bits are n
  y = x < m::kExpLow ? 0.0F : y;
  y = x > m::kExpHigh ? m::kInfinity : y;
  return x != x ? x : y;
}

// 2^x within 1 unit in the last place; 0 below -126, infinity from 128 on, NaN for NaN.
RECURVE_HOST_DEVICE inline float Exp2(float x) {
  namespace m = math_internal;
  if (x < -126.0F) return 0.0F;
  if (x >= 128.0F) return m::kInfinity;
  if (x != x) return x;
  return m::Exp2InRange(x);
}

// ln(x) within 1.5 units in the last place; -infinity for zeros and denormals of either sign,
// infinity for infinity, NaN for other negative numbers and NaN.
RECURVE_HOST_DEVICE inline float Ln(float x) {
  namespace m = math_internal;
  const uint32_t bits = FloatBits(x);
  if ((bits & 0x7FFFFFFF) < 0x00800000) return -m::kInfinity;
  if (bits == 0x7F800000) return x;
  if (bits > 0x7F800000) return m::kNan;
  constexpr uint32_t kSqrtHalf = 0x3F3504F3;
  const uint32_t shifted = bits - kSqrtHalf;
  const float n = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float f = FloatFromBits((shifted & 0x007FFFFF) + kSqrtHalf) - 1.0F;  // exact
  // ln(1 + f) = f - f^2 / 2 + f^3 * poly(f), relative error 5.9e-9.
  constexpr float kPoly[] = {0.333333313F, -0.250008225F, 0.200012267F, -0.166233569F,
                             0.142017618F, -0.131601945F, 0.127615511F, -0.0763443187F};
  float p = kPoly[7];
  for (int k = 6; k >= 0; --k) p = Fma(p, f, kPoly[k]);
  const float square = f * f;
  const float tail = Fma(n, m::kLn2Low, Fma(p, square * f, -0.5F * square));
  return Fma(n, m::kLn2High, f + tail);
}

// base^exponent for a positive base and a result within 1e-300 .. 1e300; relative error about
// 3e-16 * (1 + |ln result|).
RECURVE_HOST_DEVICE inline double Pow(double base, double exponent) {
  return math_internal::ExpDouble(exponent * math_internal::LogDouble(base));
}

// Sine and cosine of an angle in radians, |x| <= 1e9: the double result, exact to 2e-16 absolute,
// is rounded to float.
RECURVE_HOST_DEVICE inline float Sin(double x) {
  const math_internal::ReducedAngle a = math_internal::ReduceAngle(x);
  const double y =
      (a.quadrant & 1) != 0 ? math_internal::CosReduced(a.r) : math_internal::SinReduced(a.r);
  return static_cast<float>((a.quadrant & 2) != 0 ? -y : y);
}
RECURVE_HOST_DEVICE inline float Cos(double x) {
  const math_internal::ReducedAngle a = math_internal::ReduceAngle(x);
  const double y =
      (a.quadrant & 1) != 0 ? math_internal::SinReduced(a.r) : math_internal::CosReduced(a.r);
  return static_cast<float>(((a.quadrant + 1) & 2) != 0 ? -y : y);
}

// tanh(x) within 1 unit in the last place; computed in double.
RECURVE_HOST_DEVICE inline float Tanh(float x) {
  const double a = x < 0 ? -static_cast<double>(x) : static_cast<double>(x);
  double y = 1.0;
  if (a < 0.01) {
    const double square = a * a;
    y = a * Fma(square, Fma(square, 2.0 / 15.0, -1.0 / 3.0), 1.0);
  } else if (a < 20.0) {
    const double e = math_internal::ExpDouble(-2.0 * a);
    y = (1.0 - e) / (1.0 + e);
  }
  if (x != x) return x;
  return static_cast<float>(x < 0 ? -y : y);
}

// The error function, absolute error 1.2e-7 (and below 1.5 units in the last place for |x| <= 1).
RECURVE_HOST_DEVICE inline float Erf(float x) {
  const float a = x < 0 ? -x : x;
  if (a <= 1.0F) {
    // erf(x) = x + x * poly(x^2), relative error 1.2e-9.
    constexpr float kPoly[] = {0.128379166F,   -0.37612626F,    0.112835854F,   -0.026853811F,
                               0.00518832542F, -0.00080101745F, 7.85379816e-05F};
    const float square = x * x;
    float p = kPoly[6];
    for (int k = 5; k >= 0; --k) p = Fma(p, square, kPoly[k]);
    return Fma(x, p, x);
  }
  float y = 1.0F;
  if (a < 4.0F) {
    // 1 - erf(a) = exp(poly(a)) on [1, 4], absolute error 1.1e-9.
    constexpr float kPoly[] = {-0.000332673691F, -1.12712252F,    -0.638093472F,  -0.10314808F,
                               0.0218563695F,    -0.00295189186F, 0.000186778576F};
    float p = kPoly[6];
    for (int k = 5; k >= 0; --k) p = Fma(p, a, kPoly[k]);
    y = 1.0F - Exp(p);
  }
  if (x != x) return x;
  return x < 0 ? -y : y;
}

// 1 / (1 + e^-x) within 2.5 units in the last place; 0 below kExpLow.
RECURVE_HOST_DEVICE inline float Sigmoid(float x) {
  if (x < math_internal::kExpLow) return 0.0F;
  return 1.0F / (1.0F + Exp(-x));
}

// x * sigmoid(x), as x / (1 + e^-x).
RECURVE_HOST_DEVICE inline float Silu(float x) { return x / (1.0F + Exp(-x)); }

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_MATH_H_
