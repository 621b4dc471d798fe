// SPDX-License-Identifier: Apache-2.0
// Instruction sets that the CPU backend has kernels for, and which of them a machine can run.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_

#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/cpu_words.h"

namespace recurve {

// All give the same bits. kScalar is the readable definition, and what other processors run.
// kAvx512: its subsets F, BW, DQ and VL. kAmx: that, and tiles of bf16 and int8.
enum class Isa { kScalar, kNeon, kAvx2, kAvx512, kAmx };

// All of them; those of one machine from the slowest to the fastest.
inline constexpr Isa kIsas[] = {Isa::kScalar, Isa::kNeon, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};

const char* IsaName(Isa isa);

// Those that this processor has and whose registers its system keeps, in the order of kIsas. The
// first call asks the system for this process's right to use tiles.
std::vector<Isa> SupportedIsas();

#if defined(__x86_64__)
// The same of a machine that says this of itself.
std::vector<Isa> IsasOf(const CpuWords& words);

// Whether such a machine, if it has kAvx512, sums products of bytes too. Without that, kAvx512's
// products in int8 are those of kAvx2.
bool HasVnni(const CpuWords& words);
#endif

// The fastest of SupportedIsas().
Isa BestIsa();

// What --isa asks for: one of `supported` by its name, or the last of them, which is the fastest,
// by "auto". InvalidArgument: there is no such name; FailedPrecondition: this machine lacks it.
absl::StatusOr<Isa> ChooseIsa(std::string_view name, std::span<const Isa> supported);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_ISA_H_
