// SPDX-License-Identifier: Apache-2.0
// Instruction sets that the CPU backend has kernels for.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_

#include <vector>

namespace recurve {

// All give the same bits. kScalar is the readable definition, and what other processors run.
// kAvx512: its subsets F, BW, DQ and VL.
enum class Isa { kScalar, kAvx2, kAvx512 };

// Those that this processor and its system can run, from the slowest to the fastest. On x86-64 AVX2
// is in the baseline.
std::vector<Isa> SupportedIsas();

Isa BestIsa();  // the fastest of them

const char* IsaName(Isa isa);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_
