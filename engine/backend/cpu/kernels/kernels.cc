// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/kernels.h"

#include <algorithm>
#include <vector>

#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/check.h"

namespace recurve {

const Kernels& KernelsFor(Isa isa) {
  const std::vector<Isa> supported = SupportedIsas();
  RECURVE_CHECK(std::find(supported.begin(), supported.end(), isa) != supported.end());
#if defined(__AVX2__)
  if (isa == Isa::kAvx2) return kAvx2Kernels;
  if (isa == Isa::kAvx512) return HasVnni(ReadCpuWords()) ? kAvx512VnniKernels : kAvx512Kernels;
  if (isa == Isa::kAmx) return kAmxKernels;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kNeonKernels;
#endif
  return kScalarKernels;
}

}  // namespace recurve
