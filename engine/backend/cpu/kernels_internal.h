// SPDX-License-Identifier: Apache-2.0
// What the kernel files of all instruction sets share. For this folder alone.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_INTERNAL_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_INTERNAL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels.h"

namespace recurve {

inline constexpr uint32_t kHalfBlock = kBlockSize / 2;  // outputs of half a group

// One head's part of AttentionArgs::mass.
inline void AddMass(const float* p /* [entries] */, uint32_t entries, float inverse,
                    uint64_t* mass /* [entries] */) {
  for (uint32_t t = 0; t < entries; ++t) {
    const uint64_t share = MassShare(p[t], inverse);
    std::atomic_ref<uint64_t>(mass[t]).fetch_add(share, std::memory_order_relaxed);
  }
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
