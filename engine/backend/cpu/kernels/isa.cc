// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/isa.h"

namespace recurve {

Isa BestIsa() {
#if defined(__x86_64__)
  return Isa::kAvx2;
#else
  return Isa::kScalar;
#endif
}

const char* IsaName(Isa isa) { return isa == Isa::kAvx2 ? "avx2" : "scalar"; }

}  // namespace recurve
