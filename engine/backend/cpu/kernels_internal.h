// SPDX-License-Identifier: Apache-2.0
// What the kernel files of all instruction sets share. For this folder alone.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_INTERNAL_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_INTERNAL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/bf16.h"
#include "engine/backend/cpu/kernels.h"

namespace recurve {

inline constexpr uint32_t kLanes = 16;                  // of a lane sum
inline constexpr uint32_t kHalfBlock = kBlockSize / 2;  // outputs of half a group

// One element of weights, activations, keys or values as a float.
inline float Widen(float x) { return x; }
inline float Widen(Bf16 x) { return Bf16ToFloat(x); }

// The end of a lane sum: adds up the 16 chains.
inline float AddLanes(float* s /* [kLanes], overwritten */) {
  for (uint32_t width = kLanes / 2; width > 0; width /= 2) {
    for (uint32_t l = 0; l < width; ++l) s[l] += s[l + width];
  }
  return s[0];
}

// One head's part of AttentionArgs::mass.
inline void AddMass(const float* p /* [entries] */, uint32_t entries, float inverse,
                    uint64_t* mass /* [entries] */) {
  constexpr float kOne = 16777216.0F;
  for (uint32_t t = 0; t < entries; ++t) {
    const auto share = static_cast<uint64_t>(p[t] * inverse * kOne);
    std::atomic_ref<uint64_t>(mass[t]).fetch_add(share, std::memory_order_relaxed);
  }
}

// The scale of attention scores.
inline float ScoreScale(uint32_t head_dim) {
  return 1.0F / __builtin_sqrtf(static_cast<float>(head_dim));
}

// The factor of RMSNorm for a sum of squares.
inline float InverseRms(float square_sum, uint32_t n, float epsilon) {
  return 1.0F / __builtin_sqrtf(square_sum / static_cast<float>(n) + epsilon);
}

// Kernels by name, to be put into the tables (see kernels.h).
namespace scalar {
void Linear(const LinearArgs& args);
void Attention(const AttentionArgs& args);
void RmsNorm(const float* x, const float* gamma, float epsilon, uint32_t n, Precision precision,
             void* out);
void Round(const float* x, uint32_t n, Precision precision, void* out);
void Rope(float* x, const float* cos, const float* sin, uint32_t heads, uint32_t head_dim);
float Dot(const float* a, const float* b, uint32_t n);
void Gelu(float* x, uint32_t n);
void Divide(const float* x, float divisor, uint32_t n, float* out);
void AddScaled(const float* x, float g, uint32_t n, float* h);
}  // namespace scalar

#if defined(__AVX2__)
namespace avx2 {
void Linear(const LinearArgs& args);
void Attention(const AttentionArgs& args);
void RmsNorm(const float* x, const float* gamma, float epsilon, uint32_t n, Precision precision,
             void* out);
void Round(const float* x, uint32_t n, Precision precision, void* out);
void Rope(float* x, const float* cos, const float* sin, uint32_t heads, uint32_t head_dim);
float Dot(const float* a, const float* b, uint32_t n);
void Divide(const float* x, float divisor, uint32_t n, float* out);
void AddScaled(const float* x, float g, uint32_t n, float* h);
}  // namespace avx2
#endif

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_INTERNAL_H_
