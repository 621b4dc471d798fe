// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels.h"

#include "engine/backend/cpu/kernels_internal.h"
#include "engine/base/check.h"

namespace recurve {
namespace {

constexpr Kernels kScalarKernels = {
    .linear = scalar::Linear,
    .attention = scalar::Attention,
    .rms_norm = scalar::RmsNorm,
    .round = scalar::Round,
    .rope = scalar::Rope,
    .dot = scalar::Dot,
    .gelu = scalar::Gelu,
    .divide = scalar::Divide,
    .add_scaled = scalar::AddScaled,
};

#if defined(__AVX2__)
constexpr Kernels kAvx2Kernels = {
    .linear = avx2::Linear,
    .attention = avx2::Attention,
    .rms_norm = avx2::RmsNorm,
    .round = avx2::Round,
    .rope = avx2::Rope,
    .dot = avx2::Dot,
    .gelu = scalar::Gelu,  // for the hidden layer of a router alone
    .divide = avx2::Divide,
    .add_scaled = avx2::AddScaled,
};
#endif

}  // namespace

const Kernels& KernelsFor(Isa isa) {
#if defined(__AVX2__)
  if (isa == Isa::kAvx2) return kAvx2Kernels;
#endif
  RECURVE_CHECK(isa == Isa::kScalar);
  return kScalarKernels;
}

}  // namespace recurve
