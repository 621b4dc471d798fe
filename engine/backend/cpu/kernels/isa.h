// SPDX-License-Identifier: Apache-2.0
// Instruction sets that the CPU backend has kernels for.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_

namespace recurve {

// All give the same bits. kScalar is the readable definition, and what other processors run.
enum class Isa { kScalar, kAvx2 };

// The fastest that this processor has kernels for. On x86-64 AVX2 is in the baseline.
Isa BestIsa();

const char* IsaName(Isa isa);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_
