// SPDX-License-Identifier: Apache-2.0
// Compiled for the plain x86-64 instruction set and run before any other static initializer: says
// in a sentence that the processor is too old, where the rest of the program would die of SIGILL.
#include "engine/base/cpu_baseline.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <unistd.h>

#include <cstring>

namespace recurve {
namespace {

struct Feature {
  const char* name;
  uint32_t CpuWords::*word;
  uint32_t bits;
};

// One by one, since virtual machines hide single features; __builtin_cpu_supports of clang 14 does
// not know them all.
constexpr Feature kFeatures[] = {
    {"SSE3", &CpuWords::basic, bit_SSE3},
    {"SSSE3", &CpuWords::basic, bit_SSSE3},
    {"SSE4.1", &CpuWords::basic, bit_SSE4_1},
    {"SSE4.2", &CpuWords::basic, bit_SSE4_2},
    {"POPCNT", &CpuWords::basic, bit_POPCNT},
    {"CMPXCHG16B", &CpuWords::basic, bit_CMPXCHG16B},
    {"LAHF", &CpuWords::extended, bit_LAHF_LM},
    {"AVX", &CpuWords::basic, bit_AVX},
    {"AVX2", &CpuWords::newer, bit_AVX2},
    {"BMI1", &CpuWords::newer, bit_BMI},
    {"BMI2", &CpuWords::newer, bit_BMI2},
    {"F16C", &CpuWords::basic, bit_F16C},
    {"FMA", &CpuWords::basic, bit_FMA},
    {"LZCNT", &CpuWords::extended, bit_LZCNT},
    {"MOVBE", &CpuWords::basic, bit_MOVBE},
    {"XGETBV enabled by the operating system", &CpuWords::basic, bit_OSXSAVE},
    {"SSE registers saved by the operating system", &CpuWords::saved, 1 << 1},
    {"AVX registers saved by the operating system", &CpuWords::saved, 1 << 2},
};

void Say(const char* text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, strlen(text));
}

__attribute__((constructor(101))) void RequireX86_64V3() {
  const char* missing = MissingOfX86_64V3(ReadCpuWords());
  if (missing == nullptr) return;
  Say("recurve: this machine lacks ");
  Say(missing);
  Say("; Recurve needs x86-64-v3 (Intel since Haswell, AMD since Excavator).\n");
  _exit(78);
}

}  // namespace

const char* MissingOfX86_64V3(const CpuWords& words) {
  for (const Feature& feature : kFeatures) {
    if ((words.*feature.word & feature.bits) == 0) return feature.name;
  }
  return nullptr;
}

}  // namespace recurve

#endif  // __x86_64__
