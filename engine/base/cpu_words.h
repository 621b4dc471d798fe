// SPDX-License-Identifier: Apache-2.0
// What the processor says that it has, and the system that it keeps.
#ifndef RECURVE_ENGINE_BASE_CPU_WORDS_H_
#define RECURVE_ENGINE_BASE_CPU_WORDS_H_

#if defined(__x86_64__)

#include <cstdint>

namespace recurve {

// What cpuid says of the processor, and xgetbv of the registers that the system saves.
struct CpuWords {
  uint32_t basic = 0;     // leaf 1, ecx
  uint32_t newer = 0;     // leaf 7, ebx
  uint32_t newer_c = 0;   // leaf 7, ecx
  uint32_t newer_d = 0;   // leaf 7, edx
  uint32_t extended = 0;  // leaf 0x80000001, ecx
  uint32_t saved = 0;     // XCR0
};

CpuWords ReadCpuWords();

}  // namespace recurve

#endif  // __x86_64__

#endif  // RECURVE_ENGINE_BASE_CPU_WORDS_H_
