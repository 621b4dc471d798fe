// SPDX-License-Identifier: Apache-2.0
// Row kernels in plain loops: the definition that the other instruction sets are tested against.
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

void StoreRounded(float value, uint32_t i, Precision precision, void* out) {
  if (precision == Precision::kBf16) {
    recurve::StoreRounded(value, static_cast<Bf16*>(out) + i);
  } else {
    recurve::StoreRounded(value, static_cast<float*>(out) + i);
  }
}

float Dot(const float* a, const float* b, uint32_t n) { return LaneDot(a, b, n); }

void RmsNorm(const float* x, const float* gamma, float epsilon, uint32_t n, Precision precision,
             void* out) {
  const float inverse = InverseRms(Dot(x, x, n), n, epsilon);
  for (uint32_t i = 0; i < n; ++i) StoreRounded(x[i] * inverse * gamma[i], i, precision, out);
}

void Round(const float* x, uint32_t n, Precision precision, void* out) {
  for (uint32_t i = 0; i < n; ++i) StoreRounded(x[i], i, precision, out);
}

float Quantize(const float* x, uint32_t n, int8_t* q) { return QuantizeRow(x, n, q); }

void Rope(float* x, const float* cos, const float* sin, uint32_t heads, uint32_t head_dim) {
  const uint32_t half = head_dim / 2;
  for (uint32_t h = 0; h < heads; ++h, x += head_dim) {
    for (uint32_t i = 0; i < half; ++i) Rotate(cos[i], sin[i], x[i], x[i + half]);
  }
}

void Gelu(float* x, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) x[i] = recurve::Gelu(x[i]);
}

void Divide(const float* x, float divisor, uint32_t n, float* out) {
  for (uint32_t i = 0; i < n; ++i) out[i] = x[i] / divisor;
}

void AddScaled(const float* x, float g, uint32_t n, float* h) {
  for (uint32_t i = 0; i < n; ++i) h[i] = Fma(g, x[i], h[i]);
}

}  // namespace
}  // namespace recurve::scalar

namespace recurve {

namespace {

constexpr Kernels kTable = {
    .linear = scalar::Linear,
    .linear_int8 = scalar::LinearInt8,
    .attention = scalar::Attention,
    .rms_norm = scalar::RmsNorm,
    .round = scalar::Round,
    .quantize = scalar::Quantize,
    .rope = scalar::Rope,
    .dot = scalar::Dot,
    .gelu = scalar::Gelu,
    .divide = scalar::Divide,
    .add_scaled = scalar::AddScaled,
};

}  // namespace

constinit const Kernels kScalarKernels = kTable;

#if defined(__aarch64__)
// All but products in these plain loops.
constinit const Kernels kNeonKernels = [] {
  Kernels kernels = kTable;
  kernels.linear = neon::Linear;
  return kernels;
}();
#endif

}  // namespace recurve
