// SPDX-License-Identifier: Apache-2.0
// The instruction set that everything of ours is compiled for. recurve_cpu_baseline, linked into a
// program, ends it with a sentence where the processor lacks that.
#ifndef RECURVE_ENGINE_BASE_CPU_BASELINE_H_
#define RECURVE_ENGINE_BASE_CPU_BASELINE_H_

#if defined(__x86_64__)

#include <cstdint>

namespace recurve {

// What cpuid says of the processor, and xgetbv of the registers that the system saves.
struct CpuWords {
  uint32_t basic = 0;     // leaf 1, ecx
  uint32_t newer = 0;     // leaf 7, ebx
  uint32_t extended = 0;  // leaf 0x80000001, ecx
  uint32_t saved = 0;     // XCR0
};

CpuWords ReadCpuWords();

// What x86-64-v3 has and these lack, by name, one of them; null if nothing.
const char* MissingOfX86_64V3(const CpuWords& words);

}  // namespace recurve

#endif  // __x86_64__

#endif  // RECURVE_ENGINE_BASE_CPU_BASELINE_H_
