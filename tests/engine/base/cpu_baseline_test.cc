// SPDX-License-Identifier: Apache-2.0
#include "engine/base/cpu_baseline.h"

#include <cstdint>

#include "gtest/gtest.h"

#if defined(__x86_64__)

namespace recurve {
namespace {

TEST(CpuBaseline, ThisProcessorHasIt) { EXPECT_STREQ(MissingOfX86_64V3(ReadCpuWords()), nullptr); }

struct Feature {
  const char* name;
  uint32_t CpuWords::*word;
  uint32_t bit;
};

// Bits as Intel's manual numbers them.
constexpr Feature kFeatures[] = {
    {"SSE3", &CpuWords::basic, 0},
    {"SSSE3", &CpuWords::basic, 9},
    {"FMA", &CpuWords::basic, 12},
    {"CMPXCHG16B", &CpuWords::basic, 13},
    {"SSE4.1", &CpuWords::basic, 19},
    {"SSE4.2", &CpuWords::basic, 20},
    {"MOVBE", &CpuWords::basic, 22},
    {"POPCNT", &CpuWords::basic, 23},
    {"XGETBV enabled by the operating system", &CpuWords::basic, 27},
    {"AVX", &CpuWords::basic, 28},
    {"F16C", &CpuWords::basic, 29},
    {"BMI1", &CpuWords::newer, 3},
    {"AVX2", &CpuWords::newer, 5},
    {"BMI2", &CpuWords::newer, 8},
    {"LAHF", &CpuWords::extended, 0},
    {"LZCNT", &CpuWords::extended, 5},
    {"SSE registers saved by the operating system", &CpuWords::saved, 1},
    {"AVX registers saved by the operating system", &CpuWords::saved, 2},
};

TEST(CpuBaseline, NeedsEveryFeature) {
  CpuWords all;
  for (const Feature& feature : kFeatures) all.*feature.word |= 1U << feature.bit;
  EXPECT_STREQ(MissingOfX86_64V3(all), nullptr);
  for (const Feature& feature : kFeatures) {
    CpuWords words = all;
    words.*feature.word &= ~(1U << feature.bit);
    EXPECT_STREQ(MissingOfX86_64V3(words), feature.name);
  }
}

}  // namespace
}  // namespace recurve

#endif  // __x86_64__
