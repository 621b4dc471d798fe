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
inline void Keep(int32_t& value) { asm volatile("" : "+r"(value)); }

// All chains by add(chain, factor), of which each is `operations` multiply-adds; how many FLOPs
// that were.
template <typename T, typename Add>
uint64_t RunChains(uint64_t rounds, T factor, uint64_t operations, Add add) {
  T chains[kChains] = {};
  Keep(factor);
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    RECURVE_UNROLL
    for (uint64_t i = 0; i < kChains; ++i) {
      chains[i] = add(chains[i], factor);
      Keep(chains[i]);
    }
  }
  return rounds * kSteps * kChains * operations * 2;
}

uint64_t RunScalar(uint64_t rounds) {
  return RunChains(rounds, 0.5F, 1, [](float c, float f) { return Fma(c, f, f); });
}

uint64_t RunScalarInt8(uint64_t rounds) {
  return RunChains(rounds, int32_t{3}, 1, [](int32_t c, int32_t f) {
    int32_t product = f * f;
    Keep(product);
    return c + product;
  });
}

#if defined(__AVX2__)

uint64_t RunAvx2(uint64_t rounds) {
  return RunChains(rounds, _mm256_set1_ps(0.5F), 8,
                   [](__m256 c, __m256 f) { return _mm256_fmadd_ps(c, f, f); });
}

// Pairs of 16 bits, which bytes are widened to.
uint64_t RunAvx2Int8(uint64_t rounds) {
  return RunChains(rounds, _mm256_set1_epi16(3), 16, [](__m256i c, __m256i f) {
    __m256i product = _mm256_madd_epi16(f, f);
    Keep(product);
    return _mm256_add_epi32(c, product);
  });
}

// Functions for 512 bits say so one by one, and so cannot be made of RunChains, which does not.
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

// Products of tiles in six sums.
template <typename Element>
RECURVE_AMX uint64_t RunAmx(uint64_t rounds) {
  using amx::HardwareTiles;
  const HardwareTiles::Scope scope;
  HardwareTiles::Zero<6>();
  HardwareTiles::Zero<7>();
  for (uint64_t step = 0; step < rounds * kSteps; ++step) {
    HardwareTiles::Dot<Element, 0, 6, 7>();
    HardwareTiles::Dot<Element, 1, 6, 7>();
    HardwareTiles::Dot<Element, 2, 6, 7>();
    HardwareTiles::Dot<Element, 3, 6, 7>();
    HardwareTiles::Dot<Element, 4, 6, 7>();
    HardwareTiles::Dot<Element, 5, 6, 7>();
  }
  constexpr uint64_t kInputs = amx::kTileRowBytes / sizeof(Element);
  return rounds * kSteps * 6 * 16 * 16 * kInputs * 2;
}

uint64_t RunPeakInt8(Isa isa, uint64_t rounds) {
  if (isa == Isa::kAmx) return RunAmx<int8_t>(rounds);
  if (isa == Isa::kAvx512 && HasVnni(ReadCpuWords())) return RunVnni(rounds);
  return isa == Isa::kScalar ? RunScalarInt8(rounds) : RunAvx2Int8(rounds);
}

#elif defined(__aarch64__)

uint64_t RunNeon(uint64_t rounds) {
  return RunChains(rounds, vdupq_n_f32(0.5F), 4,
                   [](float32x4_t c, float32x4_t f) { return vfmaq_f32(f, c, f); });
}

#endif  // __AVX2__

}  // namespace

uint64_t RunPeak(Isa isa, Precision precision, uint64_t rounds) {
#if defined(__AVX2__)
  if (precision == Precision::kInt8) return RunPeakInt8(isa, rounds);
  if (isa == Isa::kAmx && precision == Precision::kBf16) return RunAmx<Bf16>(rounds);
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
