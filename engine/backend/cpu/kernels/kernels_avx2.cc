// SPDX-License-Identifier: Apache-2.0
// Row kernels, eight lanes at a time.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/kernels_avx2.h"

#include "engine/backend/cpu/kernels/kernels_internal.h"

namespace recurve::avx2 {
namespace {

constexpr uint32_t kWidth = 8;

// fma(a, b, sum) in the first `count` lanes (8 if more), `sum` in the others.
__m256 AddTail(const float* a, const float* b, uint32_t count, __m256 sum) {
  const __m256i mask = FirstLanes(count);
  const __m256 more =
      _mm256_fmadd_ps(_mm256_maskload_ps(a, mask), _mm256_maskload_ps(b, mask), sum);
  return _mm256_blendv_ps(sum, more, _mm256_castsi256_ps(mask));
}

template <typename Element>
void Normalize(const float* x, const float* gamma, float inverse, uint32_t n, Element* out) {
  const __m256 factor = _mm256_set1_ps(inverse);
  uint32_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
    StoreRounded(_mm256_mul_ps(scaled, _mm256_loadu_ps(gamma + i)), out + i);
  }
  if (i == n) return;
  const __m256i mask = FirstLanes(n - i);
  const __m256 scaled = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), factor);
  Element last[kWidth];
  StoreRounded(_mm256_mul_ps(scaled, _mm256_maskload_ps(gamma + i, mask)), last);
  for (uint32_t j = 0; i + j < n; ++j) out[i + j] = last[j];
}

float Dot(const float* a, const float* b, uint32_t n) {
  __m256 low = _mm256_setzero_ps();
  __m256 high = _mm256_setzero_ps();
  uint32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    low = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), low);
    high = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + kWidth), _mm256_loadu_ps(b + i + kWidth), high);
  }
  if (i < n) {
    // Lanes without an element keep their bits, even a flushed -0.
    low = AddTail(a + i, b + i, n - i, low);
    if (n - i > kWidth) high = AddTail(a + i + kWidth, b + i + kWidth, n - i - kWidth, high);
  }
  return AddLanes(low, high);
}

void RmsNorm(const float* x, const float* gamma, float epsilon, uint32_t n, Precision precision,
             void* out) {
  const float inverse = InverseRms(Dot(x, x, n), n, epsilon);
  if (precision == Precision::kBf16) {
    Normalize(x, gamma, inverse, n, static_cast<Bf16*>(out));
  } else {
    Normalize(x, gamma, inverse, n, static_cast<float*>(out));
  }
}

void Round(const float* x, uint32_t n, Precision precision, void* out) {
  uint32_t i = 0;
  if (precision == Precision::kBf16) {
    auto* const y = static_cast<Bf16*>(out);
    for (; i + kWidth <= n; i += kWidth) StoreRounded(_mm256_loadu_ps(x + i), y + i);
    kScalarKernels.round(x + i, n - i, precision, y + i);
  } else {
    kScalarKernels.round(x, n, precision, out);
  }
}

void Rope(float* x, const float* cos, const float* sin, uint32_t heads, uint32_t head_dim) {
  const uint32_t half = head_dim / 2;
  for (uint32_t h = 0; h < heads; ++h, x += head_dim) {
    uint32_t i = 0;
    for (; i + kWidth <= half; i += kWidth) {
      const __m256 a = _mm256_loadu_ps(x + i);
      const __m256 b = _mm256_loadu_ps(x + half + i);
      const __m256 c = _mm256_loadu_ps(cos + i);
      const __m256 s = _mm256_loadu_ps(sin + i);
      _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
      _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
    }
    for (; i < half; ++i) Rotate(cos[i], sin[i], x[i], x[i + half]);
  }
}

void Divide(const float* x, float divisor, uint32_t n, float* out) {
  const __m256 d = _mm256_set1_ps(divisor);
  uint32_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    _mm256_storeu_ps(out + i, _mm256_div_ps(_mm256_loadu_ps(x + i), d));
  }
  kScalarKernels.divide(x + i, divisor, n - i, out + i);
}

void AddScaled(const float* x, float g, uint32_t n, float* h) {
  const __m256 factor = _mm256_set1_ps(g);
  uint32_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const __m256 sum = _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(h + i));
    _mm256_storeu_ps(h + i, sum);
  }
  kScalarKernels.add_scaled(x + i, g, n - i, h + i);
}

// Of the hidden layer of a router alone.
void Gelu(float* x, uint32_t n) { kScalarKernels.gelu(x, n); }

}  // namespace
}  // namespace recurve::avx2

namespace recurve {
namespace {

constexpr Kernels kTable = {
    .linear = avx2::Linear,
    .linear_int8 = avx2::LinearInt8,
    .attention = avx2::Attention,
    .rms_norm = avx2::RmsNorm,
    .round = avx2::Round,
    .quantize = avx2::Quantize,
    .rope = avx2::Rope,
    .dot = avx2::Dot,
    .gelu = avx2::Gelu,
    .divide = avx2::Divide,
    .add_scaled = avx2::AddScaled,
};

// The others take too little time to be worth wider vectors.
constexpr Kernels kAvx512Table = [] {
  Kernels kernels = kTable;
  kernels.linear = avx512::Linear;
  kernels.attention = avx512::Attention;
  return kernels;
}();

constexpr Kernels kAvx512VnniTable = [] {
  Kernels kernels = kAvx512Table;
  kernels.linear_int8 = avx512::LinearInt8;
  return kernels;
}();

constexpr Kernels kAmxTable = [] {
  Kernels kernels = kAvx512VnniTable;
  kernels.linear = amx::Linear;
  kernels.linear_int8 = amx::LinearInt8;
  return kernels;
}();

}  // namespace

constinit const Kernels kAvx2Kernels = kTable;
constinit const Kernels kAvx512Kernels = kAvx512Table;
constinit const Kernels kAvx512VnniKernels = kAvx512VnniTable;
constinit const Kernels kAmxKernels = kAmxTable;

}  // namespace recurve

#endif  // __AVX2__
