// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/float_env.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"
#if defined(__AVX2__)
#include "engine/backend/cpu/kernels/kernels_avx2.h"
#endif

namespace recurve {
namespace {

constexpr uint32_t kLengths[] = {1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 33, 40, 50, 88, 576, 1001};
constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBf16};

// Calls test(n, range, random) for every length and kind of numbers.
template <typename Test>
void ForLengths(Test test) {
  const ScopedFloatEnv env;
  uint32_t seed = 0;
  for (const uint32_t n : kLengths) {
    for (const Range range : kAllRanges) {
      SCOPED_TRACE(testing::Message() << "seed " << ++seed << " n " << n << " " << Name(range));
      Random random(seed);
      test(n, range, random);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// The lane sum of a * b as kernels.h writes it.
float LaneSum(const std::vector<float>& a, const std::vector<float>& b) {
  float lanes[16] = {};
  for (size_t i = 0; i < a.size(); ++i) lanes[i % 16] = std::fma(a[i], b[i], lanes[i % 16]);
  for (uint32_t l = 0; l < 8; ++l) lanes[l] += lanes[l + 8];
  for (uint32_t l = 0; l < 4; ++l) lanes[l] += lanes[l + 4];
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

TEST(RowKernelsTest, DotIsALaneSum) {
  ForLengths([](uint32_t n, Range range, Random& random) {
    const std::vector<float> a = random.Floats(n, range);
    const std::vector<float> b = random.Floats(n, range);
    const float expected = LaneSum(a, b);
    for (const Isa isa : SupportedIsas()) {
      const float dot = KernelsFor(isa).dot(a.data(), b.data(), n);
      EXPECT_TRUE(SameBits(dot, expected)) << IsaName(isa) << " " << dot << " " << expected;
    }
    if (range != Range::kNormal) return;
    double exact = 0;
    double magnitude = 0;
    for (uint32_t i = 0; i < n; ++i) {
      exact += static_cast<double>(a[i]) * b[i];
      magnitude += std::abs(static_cast<double>(a[i]) * b[i]);
    }
    EXPECT_NEAR(expected, exact, 1e-6 * magnitude);
  });
}

// Products that are flushed to -0 leave a chain at -0, also one that has no element in the last
// round.
TEST(RowKernelsTest, DotKeepsNegativeZeros) {
  const ScopedFloatEnv env;
  for (const uint32_t n : {16U, 17U, 25U}) {
    const std::vector<float> a(n, -1e-30F);
    const std::vector<float> b(n, 1e-30F);
    for (const Isa isa : SupportedIsas()) {
      EXPECT_EQ(FloatBits(KernelsFor(isa).dot(a.data(), b.data(), n)), 0x80000000) << n;
    }
  }
}

// Runs a kernel that rounds n floats to `precision`; returns them widened.
template <typename Kernel>
std::vector<float> Rounded(uint32_t n, Precision precision, Kernel kernel) {
  std::vector<float> out(n + 8, 77.0F);
  std::vector<Bf16> narrow(n + 8, FloatToBf16(77.0F));
  if (precision == Precision::kF32) {
    kernel(static_cast<void*>(out.data()));
  } else {
    kernel(static_cast<void*>(narrow.data()));
    for (uint32_t i = 0; i < n + 8; ++i) out[i] = Bf16ToFloat(narrow[i]);
  }
  for (uint32_t i = n; i < n + 8; ++i) EXPECT_EQ(out[i], 77.0F) << "written past the end";
  out.resize(n);
  return out;
}

TEST(RowKernelsTest, RmsNorm) {
  constexpr float kEpsilon = 1e-5F;
  ForLengths([&](uint32_t n, Range range, Random& random) {
    const std::vector<float> x = random.Floats(n, range);
    const std::vector<float> gamma = random.Floats(n, Range::kNormal);
    const float inverse = 1.0F / std::sqrt(LaneSum(x, x) / static_cast<float>(n) + kEpsilon);
    for (const Precision precision : kPrecisions) {
      std::vector<float> expected(n);
      for (uint32_t i = 0; i < n; ++i) {
        expected[i] = RoundedTo(precision, x[i] * inverse * gamma[i]);
      }
      for (const Isa isa : SupportedIsas()) {
        const std::vector<float> y = Rounded(n, precision, [&](void* out) {
          KernelsFor(isa).rms_norm(x.data(), gamma.data(), kEpsilon, n, precision, out);
        });
        EXPECT_EQ(FirstDifference(y, expected), -1) << IsaName(isa);
      }
    }
  });
}

TEST(RowKernelsTest, Round) {
  ForLengths([](uint32_t n, Range range, Random& random) {
    const std::vector<float> x = random.Floats(n, range);
    for (const Precision precision : kPrecisions) {
      std::vector<float> expected(n);
      for (uint32_t i = 0; i < n; ++i) expected[i] = RoundedTo(precision, x[i]);
      for (const Isa isa : SupportedIsas()) {
        const std::vector<float> y = Rounded(
            n, precision, [&](void* out) { KernelsFor(isa).round(x.data(), n, precision, out); });
        EXPECT_EQ(FirstDifference(y, expected), -1) << IsaName(isa);
      }
    }
  });
}

TEST(RowKernelsTest, Quantize) {
  ForLengths([](uint32_t n, Range range, Random& random) {
    const std::vector<float> x = random.Floats(n, range);
    std::vector<int8_t> expected(n + 8, 77);
    const float scale = QuantizeRow(x.data(), n, expected.data());
    for (const Isa isa : SupportedIsas()) {
      std::vector<int8_t> q(n + 8, 77);
      EXPECT_TRUE(SameBits(KernelsFor(isa).quantize(x.data(), n, q.data()), scale));
      EXPECT_EQ(q, expected) << IsaName(isa);
    }
  });
}

TEST(RowKernelsTest, RopeRotatesPairsOfHalves) {
  const ScopedFloatEnv env;
  Random random(3);
  for (const uint32_t dim : {2U, 8U, 20U, 32U, 64U, 80U, 96U, 128U}) {
    SCOPED_TRACE(dim);
    constexpr uint32_t kHeads = 3;
    const uint32_t half = dim / 2;
    std::vector<float> cos(half);
    std::vector<float> sin(half);
    for (uint32_t i = 0; i < half; ++i) {
      const double angle = 1000.0 * Pow(10000.0, -2.0 * i / dim);
      cos[i] = Cos(angle);
      sin[i] = Sin(angle);
    }
    const std::vector<float> x = random.Floats(kHeads * dim, Range::kNormal);
    std::vector<float> scalar = x;
    KernelsFor(Isa::kScalar).rope(scalar.data(), cos.data(), sin.data(), kHeads, dim);
    for (const Isa isa : SupportedIsas()) {
      std::vector<float> rotated = x;
      KernelsFor(isa).rope(rotated.data(), cos.data(), sin.data(), kHeads, dim);
      EXPECT_EQ(FirstDifference(rotated, scalar), -1) << IsaName(isa);
    }
    for (uint32_t h = 0; h < kHeads; ++h) {
      for (uint32_t i = 0; i < half; ++i) {
        const double angle = 1000.0 * std::pow(10000.0, -2.0 * i / dim);
        const double a = x[h * dim + i];
        const double b = x[h * dim + half + i];
        EXPECT_NEAR(scalar[h * dim + i], a * std::cos(angle) - b * std::sin(angle), 1e-6);
        EXPECT_NEAR(scalar[h * dim + half + i], b * std::cos(angle) + a * std::sin(angle), 1e-6);
      }
    }
  }
}

TEST(RowKernelsTest, ElementwiseKernels) {
  ForLengths([](uint32_t n, Range range, Random& random) {
    const std::vector<float> x = random.Floats(n, range);
    const std::vector<float> h = random.Floats(n, range);
    const float g = random.Float(Range::kNormal);
    for (const Isa isa : SupportedIsas()) {
      const Kernels& kernels = KernelsFor(isa);
      std::vector<float> divided(n);
      kernels.divide(x.data(), g, n, divided.data());
      std::vector<float> sum = h;
      kernels.add_scaled(x.data(), g, n, sum.data());
      for (uint32_t i = 0; i < n; ++i) {
        EXPECT_TRUE(SameBits(divided[i], x[i] / g));
        EXPECT_TRUE(SameBits(sum[i], std::fma(g, x[i], h[i])));
      }
      if (range != Range::kNormal) continue;
      std::vector<float> gelu = x;
      kernels.gelu(gelu.data(), n);
      for (uint32_t i = 0; i < n; ++i) {
        EXPECT_NEAR(gelu[i], 0.5 * x[i] * (1 + std::erf(x[i] / std::sqrt(2.0))), 3e-7);
      }
    }
  });
}

TEST(RowKernelsTest, Bf16RoundsToNearestEven) {
  EXPECT_EQ(FloatToBf16(1.0F), 0x3F80);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3F808000)), 0x3F80);  // halfway, to even
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3F818000)), 0x3F82);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3F808001)), 0x3F81);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x7F7FFFFF)), 0x7F80);  // to infinity
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x7F800001)), 0x7FC0);  // stays a NaN
  EXPECT_EQ(FloatToBf16(FloatFromBits(0xFFFFFFFF)), 0xFFC0);
  EXPECT_EQ(FloatToBf16(-0.0F), 0x8000);
}

#if defined(__AVX2__)
TEST(RowKernelsTest, VectorFunctionsAreTwins) {
  const ScopedFloatEnv env;
  // Floats all over the range, by a stride that is odd and visits every exponent.
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 8 * 4007) {
    float x[8];
    float exp[8];
    float silu[8];
    Bf16 narrow[8];
    for (uint32_t i = 0; i < 8; ++i) x[i] = FloatFromBits(static_cast<uint32_t>(bits + i * 4007));
    const __m256 v = _mm256_loadu_ps(x);
    _mm256_storeu_ps(exp, avx2::Exp8(v));
    _mm256_storeu_ps(silu, avx2::Silu8(v));
    avx2::StoreRounded(v, narrow);
    for (uint32_t i = 0; i < 8; ++i) {
      ASSERT_TRUE(SameBits(exp[i], Exp(x[i]))) << x[i];
      ASSERT_TRUE(SameBits(silu[i], Silu(x[i]))) << x[i];
      ASSERT_EQ(narrow[i], FloatToBf16(x[i])) << x[i];
    }
  }
}
#endif

TEST(FloatEnvTest, FlushesDenormalsAndRestores) {
  volatile float least = std::numeric_limits<float>::min();
  volatile float denormal = std::numeric_limits<float>::denorm_min();
  {
    const ScopedFloatEnv env;
    EXPECT_EQ(FloatBits(least * 0.5F), 0U);      // a denormal result
    EXPECT_EQ(FloatBits(denormal * 1e30F), 0U);  // a denormal operand
  }
  EXPECT_NE(FloatBits(least * 0.5F), 0U);
  EXPECT_NE(FloatBits(denormal * 1e30F), 0U);
}

}  // namespace
}  // namespace recurve
