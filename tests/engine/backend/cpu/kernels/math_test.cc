// SPDX-License-Identifier: Apache-2.0
// Errors of engine/base/math.h against long double (64 bits of mantissa on x86-64; where long
// double is no wider than double the bounds hold as well).
#include "engine/base/math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/float_env.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"

namespace recurve {
namespace {

struct Errors {
  double ulps = 0;      // largest, in units in the last place of the exact result
  double absolute = 0;  // largest
  float at = 0;         // where `ulps` was found
};

template <typename Function, typename Exact>
Errors Sweep(double low, double high, Function function, Exact exact) {
  constexpr int kPoints = 200'003;
  Errors errors;
  for (int i = 0; i <= kPoints; ++i) {
    const auto x = static_cast<float>(low + (high - low) * i / kPoints);
    const long double expected = exact(static_cast<long double>(x));
    const double error = static_cast<double>(std::abs(function(x) - expected));
    int exponent;
    std::frexp(static_cast<double>(expected), &exponent);
    const double ulps = error / std::ldexp(1.0, std::max(exponent, -125) - 24);
    if (!(ulps <= errors.ulps)) {
      errors.ulps = ulps;
      errors.at = x;
    }
    if (!(error <= errors.absolute)) errors.absolute = error;
  }
  return errors;
}

#define EXPECT_ULPS(low, high, function, exact, limit)                                     \
  do {                                                                                     \
    const Errors errors = Sweep(                                                           \
        low, high, [](float x) { return function; }, [](long double x) { return exact; }); \
    EXPECT_LE(errors.ulps, limit) << #function << " at " << errors.at;                     \
  } while (false)

TEST(MathTest, Exp) {
  EXPECT_ULPS(-87.33, 88.72, Exp(x), std::exp(x), 1.1);
  EXPECT_ULPS(-1.0, 1.0, Exp(x), std::exp(x), 1.1);
  EXPECT_EQ(Exp(0.0F), 1.0F);
  EXPECT_EQ(Exp(-87.34F), 0.0F);
  EXPECT_GE(Exp(-87.3365F), std::numeric_limits<float>::min());
  EXPECT_TRUE(std::isfinite(Exp(88.7228F)));
  EXPECT_TRUE(std::isinf(Exp(88.723F)));
  EXPECT_EQ(Exp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_TRUE(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(MathTest, Exp2) {
  EXPECT_ULPS(-126.0, 127.99, Exp2(x), std::exp2(x), 1.0);
  EXPECT_ULPS(-1.0, 1.0, Exp2(x), std::exp2(x), 1.0);
  for (int n = -126; n < 128; ++n) {
    EXPECT_EQ(Exp2(static_cast<float>(n)), std::ldexp(1.0F, n));
  }
  EXPECT_EQ(Exp2(-126.5F), 0.0F);
  EXPECT_TRUE(std::isinf(Exp2(128.0F)));
  EXPECT_TRUE(std::isnan(Exp2(std::numeric_limits<float>::quiet_NaN())));
}

TEST(MathTest, Ln) {
  EXPECT_ULPS(0.5, 2.0, Ln(x), std::log(x), 1.5);
  EXPECT_ULPS(1.2e-38, 1e-3, Ln(x), std::log(x), 1.0);
  EXPECT_ULPS(2.0, 1e9, Ln(x), std::log(x), 1.0);
  EXPECT_EQ(Ln(1.0F), 0.0F);
  EXPECT_EQ(Ln(0.0F), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(Ln(std::numeric_limits<float>::denorm_min()), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(Ln(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(Ln(-1.0F)));
  EXPECT_TRUE(std::isnan(Ln(std::numeric_limits<float>::quiet_NaN())));
}

TEST(MathTest, Tanh) {
  EXPECT_ULPS(-10.0, 10.0, Tanh(x), std::tanh(x), 1.0);
  EXPECT_ULPS(-0.02, 0.02, Tanh(x), std::tanh(x), 1.0);
  EXPECT_EQ(Tanh(100.0F), 1.0F);
  EXPECT_EQ(Tanh(-100.0F), -1.0F);
  EXPECT_TRUE(std::isnan(Tanh(std::numeric_limits<float>::quiet_NaN())));
}

TEST(MathTest, Erf) {
  EXPECT_ULPS(-1.0, 1.0, Erf(x), std::erf(x), 1.5);
  const Errors errors = Sweep(-6.0, 6.0, Erf, [](long double x) { return std::erf(x); });
  EXPECT_LE(errors.absolute, 1.2e-7);
  EXPECT_EQ(Erf(10.0F), 1.0F);
  EXPECT_TRUE(std::isnan(Erf(std::numeric_limits<float>::quiet_NaN())));
}

TEST(MathTest, SigmoidAndSilu) {
  EXPECT_ULPS(-87.33, 20.0, Sigmoid(x), 1 / (1 + std::exp(-x)), 2.5);
  EXPECT_ULPS(-80.0, 20.0, Silu(x), x / (1 + std::exp(-x)), 2.5);
  EXPECT_EQ(Sigmoid(0.0F), 0.5F);
  EXPECT_EQ(Sigmoid(-100.0F), 0.0F);
  EXPECT_EQ(Sigmoid(100.0F), 1.0F);
  EXPECT_EQ(Silu(-200.0F), 0.0F);
  EXPECT_EQ(Silu(200.0F), 200.0F);
}

TEST(MathTest, SinAndCosOfLargeAngles) {
  for (const double range : {10.0, 1e6, 1e9}) {
    const auto sin = Sweep(
        -range, range, [](float x) { return Sin(x); }, [](long double x) { return std::sin(x); });
    const auto cos = Sweep(
        -range, range, [](float x) { return Cos(x); }, [](long double x) { return std::cos(x); });
    EXPECT_LE(sin.absolute, 3.1e-8) << range;
    EXPECT_LE(cos.absolute, 3.1e-8) << range;
  }
  EXPECT_EQ(Sin(0.0), 0.0F);
  EXPECT_EQ(Cos(0.0), 1.0F);
}

TEST(MathTest, Pow) {
  for (const double base : {0.3, 2.0, 10000.0, 500000.0, 1e6}) {
    for (int i = -1000; i <= 1000; ++i) {
      const double exponent = i / 500.0;
      const long double expected =
          std::pow(static_cast<long double>(base), static_cast<long double>(exponent));
      ASSERT_NEAR(static_cast<double>(Pow(base, exponent) / expected), 1.0, 1e-14)
          << base << " to " << exponent;
    }
  }
}

TEST(MathTest, FlushingDenormalsChangesNothing) {
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 65'521) {
    // Halves of the least normal floats would be denormal, and so are Silu's values there.
    if ((bits & 0x7F800000) < 0x01000000) continue;
    // Volatile, or the compiler may compute once for both modes.
    volatile float x = FloatFromBits(static_cast<uint32_t>(bits));
    const float plain[] = {Exp(x), Exp2(x), Ln(x), Tanh(x), Erf(x), Sigmoid(x), Silu(x)};
    const ScopedFloatEnv env;
    const float flushed[] = {Exp(x), Exp2(x), Ln(x), Tanh(x), Erf(x), Sigmoid(x), Silu(x)};
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(SameBits(plain[i], flushed[i])) << "function " << i << " of " << x;
    }
  }
}

}  // namespace
}  // namespace recurve
