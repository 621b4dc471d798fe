// SPDX-License-Identifier: Apache-2.0
// Row kernels in plain loops: the definition that the other instruction sets are tested against.
#include "engine/backend/cpu/kernels_internal.h"
#include "engine/base/math.h"

namespace recurve::scalar {
namespace {

void StoreRounded(float value, uint32_t i, Precision precision, void* out) {
  if (precision == Precision::kBf16) {
    static_cast<Bf16*>(out)[i] = FloatToBf16(value);
  } else {
    static_cast<float*>(out)[i] = value;
  }
}

}  // namespace

float Dot(const float* a, const float* b, uint32_t n) {
  float lanes[kLanes] = {};
  for (uint32_t i = 0; i < n; ++i) lanes[i % kLanes] = Fma(a[i], b[i], lanes[i % kLanes]);
  return AddLanes(lanes);
}

void RmsNorm(const float* x, const float* gamma, float epsilon, uint32_t n, Precision precision,
             void* out) {
  const float inverse = InverseRms(Dot(x, x, n), n, epsilon);
  for (uint32_t i = 0; i < n; ++i) StoreRounded(x[i] * inverse * gamma[i], i, precision, out);
}

void Round(const float* x, uint32_t n, Precision precision, void* out) {
  for (uint32_t i = 0; i < n; ++i) StoreRounded(x[i], i, precision, out);
}

void Rope(float* x, const float* cos, const float* sin, uint32_t heads, uint32_t head_dim) {
  const uint32_t half = head_dim / 2;
  for (uint32_t h = 0; h < heads; ++h, x += head_dim) {
    for (uint32_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[i + half];
      x[i] = Fma(a, cos[i], -(b * sin[i]));
      x[i + half] = Fma(b, cos[i], a * sin[i]);
    }
  }
}

void Gelu(float* x, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) {
    x[i] = (0.5F * x[i]) * (1.0F + Erf(x[i] * 0.707106781F));
  }
}

void Divide(const float* x, float divisor, uint32_t n, float* out) {
  for (uint32_t i = 0; i < n; ++i) out[i] = x[i] / divisor;
}

void AddScaled(const float* x, float g, uint32_t n, float* h) {
  for (uint32_t i = 0; i < n; ++i) h[i] = Fma(g, x[i], h[i]);
}

}  // namespace recurve::scalar
