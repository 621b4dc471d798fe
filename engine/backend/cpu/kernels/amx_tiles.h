// SPDX-License-Identifier: Apache-2.0
// The tile instructions of AMX, one function each. For linear_amx.cc and what measures its peak.
//
// Written in assembly, since a compiler's intrinsics take tiles' names as literals alone and some
// do not say what memory they read.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_AMX_TILES_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_AMX_TILES_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/backend/arithmetic.h"

// Functions with tiles say so one by one, as those of linear_avx512.cc do with wide vectors.
#define RECURVE_AMX __attribute__((target("amx-tile,amx-bf16,amx-int8")))

namespace recurve::amx {

inline constexpr uint32_t kTileRows = 16;
inline constexpr size_t kTileRowBytes = 64;

// Eight registers, named 0 to 7, of kTileRows rows of kTileRowBytes each: bf16 [16][32], int8
// [16][64], or float or int32 [16][16]. Of a thread: what one thread holds no other sees.
struct HardwareTiles {
  // While it lives the thread's tiles have these sizes; afterwards it has none, as the system and a
  // core that wants to sleep like it. A tenth of a microsecond.
  class Scope {
   public:
    RECURVE_AMX Scope() {
      static constexpr Config kConfig;
      asm volatile("ldtilecfg %0" ::"m"(kConfig));
    }
    RECURVE_AMX ~Scope() { asm volatile("tilerelease" ::); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  // A clock that costs little to read, of no fixed unit.
  static uint64_t Now() { return __builtin_ia32_rdtsc(); }

  template <int kTile>
  RECURVE_AMX static void Zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }

  // Rows that lie `stride` bytes apart.
  template <int kTile>
  RECURVE_AMX static void Load(const void* rows, size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  RECURVE_AMX static void Store(void* rows, size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "i"(kTile) : "memory");
  }

  // sum [16][16] += a b. Of bf16: a [16][32], b [16 pairs of inputs][16 outputs][2], floats in the
  // order of engine/backend/arithmetic.h, denormals read and written as zero whatever the thread's
  // mode. Of int8: a [16][64], b [16 quads of inputs][16 outputs][4], exact sums.
  template <typename Element, int kSum, int kA, int kB>
  RECURVE_AMX static void Dot() {
    if constexpr (std::is_same_v<Element, Bf16>) {
      asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kA), "i"(kB));
    } else {
      static_assert(std::is_same_v<Element, int8_t>);
      asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kA), "i"(kB));
    }
  }

 private:
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  static_assert(sizeof(Config) == 64);
};

}  // namespace recurve::amx

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_AMX_TILES_H_
