// SPDX-License-Identifier: Apache-2.0
// Compiled for the plain x86-64 instruction set, since cpu_baseline.cc calls it on any processor.
#include "engine/base/cpu_words.h"

#if defined(__x86_64__)

#include <cpuid.h>

namespace recurve {

CpuWords ReadCpuWords() {
  CpuWords words;
  uint32_t eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) words.basic = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    words.newer = ebx;
    words.newer_c = ecx;
    words.newer_d = edx;
  }
  if (__get_cpuid(0x8000'0001, &eax, &ebx, &ecx, &edx)) words.extended = ecx;
  if (words.basic & bit_OSXSAVE) {
    // The intrinsic needs -mxsave.
    asm volatile("xgetbv" : "=a"(words.saved), "=d"(edx) : "c"(0));
  }
  return words;
}

}  // namespace recurve

#endif  // __x86_64__
