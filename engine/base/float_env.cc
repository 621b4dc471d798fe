// SPDX-License-Identifier: Apache-2.0
#include "engine/base/float_env.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace recurve {
namespace {

#if defined(__x86_64__)

// MXCSR with every exception masked, rounding to nearest, FTZ (bit 15) and DAZ (bit 6).
constexpr uint64_t kMode = 0x1F80 | 0x8000 | 0x0040;
uint64_t ReadMode() { return _mm_getcsr(); }
void WriteMode(uint64_t mode) { _mm_setcsr(static_cast<uint32_t>(mode)); }

#elif defined(__aarch64__)

// FPCR.FZ flushes denormal operands and results.
constexpr uint64_t kMode = uint64_t{1} << 24;
uint64_t ReadMode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void WriteMode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }

#else
#error "The CPU backend knows how to flush denormals on x86-64 and AArch64 only"
#endif

}  // namespace

ScopedFloatEnv::ScopedFloatEnv() : saved_(ReadMode()) { WriteMode(kMode); }
ScopedFloatEnv::~ScopedFloatEnv() { WriteMode(saved_); }

}  // namespace recurve
