// SPDX-License-Identifier: Apache-2.0
// What the kernel files of all instruction sets share. For this folder alone.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_INTERNAL_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_INTERNAL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/kernels.h"

namespace recurve {

inline constexpr uint32_t kHalfPanel = kPanelOutputs / 2;  // outputs

// One head's part of AttentionArgs::mass.
inline void AddMass(const float* p /* [entries] */, uint32_t entries, float inverse,
                    uint64_t* mass /* [entries] */) {
  for (uint32_t t = 0; t < entries; ++t) {
    const uint64_t share = MassShare(p[t], inverse);
    std::atomic_ref<uint64_t>(mass[t]).fetch_add(share, std::memory_order_relaxed);
  }
}

// The table of each instruction set, defined beside its row kernels.
extern const Kernels kScalarKernels;
#if defined(__AVX2__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;  // the same, with products in int8 of their own
extern const Kernels kAmxKernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
#endif

// The kernels that have files of their own, for these tables.
namespace scalar {
void Linear(const LinearArgs& args);
void LinearInt8(const LinearArgs& args);
void Attention(const AttentionArgs& args);
}  // namespace scalar
namespace avx2 {
void Linear(const LinearArgs& args);
void LinearInt8(const LinearArgs& args);
float Quantize(const float* x, uint32_t n, int8_t* q);
void Attention(const AttentionArgs& args);
}  // namespace avx2
namespace avx512 {
void Linear(const LinearArgs& args);
void LinearInt8(const LinearArgs& args);  // needs VNNI
void Attention(const AttentionArgs& args);
}  // namespace avx512
namespace amx {
void Linear(const LinearArgs& args);
void LinearInt8(const LinearArgs& args);
}  // namespace amx
namespace neon {
void Linear(const LinearArgs& args);
}  // namespace neon

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_INTERNAL_H_
