// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/peak.h"

#include "engine/backend/cpu/kernels/unroll.h"
#include "engine/base/check.h"
#include "engine/base/math.h"

#if defined(__AVX2__)
#include <immintrin.h>

#include "engine/backend/cpu/kernels/amx_tiles.h"
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace recurve {
namespace {

// Chains that do not wait for each other: more than the latency of a multiply-add times those that
// begin in a clock.
constexpr uint64_t kChains = 12;
constexpr uint64_t kSteps = 64;  // of each chain in a round

// Tells the compiler that `value` is needed, and may have become anything.
template <typename T>
inline void Keep(T& value) {
#if defined(__x86_64__)
  asm volatile("" : "+x"(value));
#else
  asm volatile("" : "+w"(value));
#endif
}

uint64_t RunScalar(uint64_t rounds) {
  float chains[kChains] = {};
  float factor = 0.5F;
  Keep(factor);
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      chains[i] = Fma(chains[i], factor, factor);
      Keep(chains[i]);
    }
  }
  return rounds * kSteps * kChains * 2;
}

uint64_t RunScalarInt8(uint64_t rounds) {
  int32_t chains[kChains] = {};
  int32_t factor = 3;
  asm volatile("" : "+r"(factor));
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      int32_t product = factor * factor;
      asm volatile("" : "+r"(product));
      chains[i] += product;
      asm volatile("" : "+r"(chains[i]));
    }
  }
  return rounds * kSteps * kChains * 2;
}

#if defined(__AVX2__)

// Pairs of 16 bits, which bytes are widened to.
uint64_t RunAvx2Int8(uint64_t rounds) {
  __m256i chains[kChains] = {};
  __m256i factor = _mm256_set1_epi16(3);
  Keep(factor);
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      __m256i product = _mm256_madd_epi16(factor, factor);
      Keep(product);
      chains[i] = _mm256_add_epi32(chains[i], product);
      Keep(chains[i]);
    }
  }
  return rounds * kSteps * kChains * 16 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) uint64_t RunVnni(uint64_t rounds) {
  __m512i chains[kChains] = {};
  __m512i factor = _mm512_set1_epi8(3);
  asm volatile("" : "+v"(factor));
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      chains[i] = _mm512_dpbusd_epi32(chains[i], factor, factor);
      asm volatile("" : "+v"(chains[i]));
    }
  }
  return rounds * kSteps * kChains * 64 * 2;
}

uint64_t RunPeakInt8(Isa isa, uint64_t rounds) {
  const bool wide = isa == Isa::kAvx512 || isa == Isa::kAmx;
  if (wide && HasVnni(ReadCpuWords())) return RunVnni(rounds);
  return isa == Isa::kScalar ? RunScalarInt8(rounds) : RunAvx2Int8(rounds);
}

uint64_t RunAvx2(uint64_t rounds) {
  __m256 chains[kChains] = {};
  __m256 factor = _mm256_set1_ps(0.5F);
  Keep(factor);
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      chains[i] = _mm256_fmadd_ps(chains[i], factor, factor);
      Keep(chains[i]);
    }
  }
  return rounds * kSteps * kChains * 8 * 2;
}

__attribute__((target("avx512f"))) uint64_t RunAvx512(uint64_t rounds) {
  __m512 chains[kChains] = {};
  __m512 factor = _mm512_set1_ps(0.5F);
  asm volatile("" : "+v"(factor));
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      chains[i] = _mm512_fmadd_ps(chains[i], factor, factor);
      asm volatile("" : "+v"(chains[i]));
    }
  }
  return rounds * kSteps * kChains * 16 * 2;
}

// Products of tiles in six sums.
RECURVE_AMX uint64_t RunAmx(uint64_t rounds) {
  using amx::HardwareTiles;
  const HardwareTiles::Scope scope;
  HardwareTiles::Zero<6>();
  HardwareTiles::Zero<7>();
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    HardwareTiles::Dot<0, 6, 7>();
    HardwareTiles::Dot<1, 6, 7>();
    HardwareTiles::Dot<2, 6, 7>();
    HardwareTiles::Dot<3, 6, 7>();
    HardwareTiles::Dot<4, 6, 7>();
    HardwareTiles::Dot<5, 6, 7>();
  }
  return rounds * kSteps * 6 * 16 * 16 * 32 * 2;
}

#elif defined(__aarch64__)

uint64_t RunNeon(uint64_t rounds) {
  float32x4_t chains[kChains] = {};
  float32x4_t factor = vdupq_n_f32(0.5F);
  Keep(factor);
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      chains[i] = vfmaq_f32(factor, chains[i], factor);
      Keep(chains[i]);
    }
  }
  return rounds * kSteps * kChains * 4 * 2;
}

#endif  // __AVX2__

}  // namespace

uint64_t RunPeak(Isa isa, Precision precision, uint64_t rounds) {
#if defined(__AVX2__)
  if (precision == Precision::kInt8) return RunPeakInt8(isa, rounds);
  if (isa == Isa::kAmx && precision == Precision::kBf16) return RunAmx(rounds);
  if (isa == Isa::kAmx) return RunAvx512(rounds);
  if (isa == Isa::kAvx2) return RunAvx2(rounds);
  if (isa == Isa::kAvx512) return RunAvx512(rounds);
#else
  if (precision == Precision::kInt8) return RunScalarInt8(rounds);
#endif
#if defined(__aarch64__)
  if (isa == Isa::kNeon) return RunNeon(rounds);
#endif
  RECURVE_CHECK(isa == Isa::kScalar);
  return RunScalar(rounds);
}

}  // namespace recurve
