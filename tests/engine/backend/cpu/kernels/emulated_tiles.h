// SPDX-License-Identifier: Apache-2.0
// The tiles of AMX in plain C++, with the bits that the processor's give.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_EMULATED_TILES_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_EMULATED_TILES_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/amx_tiles.h"
#include "engine/base/math.h"
#include "gtest/gtest.h"

namespace recurve::amx {

// As HardwareTiles, of the thread. What no Load or Zero has written is a NaN, and a test fails that
// touches tiles outside of a Scope.
struct EmulatedTiles {
  class Scope {
   public:
    Scope() {
      EXPECT_FALSE(configured_);
      configured_ = true;
      std::memset(tiles_, 0xFF, sizeof(tiles_));
    }
    ~Scope() { configured_ = false; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  template <int kTile>
  static void Zero() {
    EXPECT_TRUE(configured_);
    std::memset(tiles_[kTile], 0, sizeof(tiles_[kTile]));
  }
  template <int kTile>
  static void Load(const void* rows, size_t stride) {
    EXPECT_TRUE(configured_);
    for (uint32_t row = 0; row < kTileRows; ++row) {
      std::memcpy(tiles_[kTile][row], static_cast<const std::byte*>(rows) + row * stride,
                  kTileRowBytes);
    }
  }
  template <int kTile>
  static void Store(void* rows, size_t stride) {
    EXPECT_TRUE(configured_);
    for (uint32_t row = 0; row < kTileRows; ++row) {
      std::memcpy(static_cast<std::byte*>(rows) + row * stride, tiles_[kTile][row], kTileRowBytes);
    }
  }
  template <int kSum, int kA, int kB>
  static void Dot() {
    EXPECT_TRUE(configured_);
    for (uint32_t row = 0; row < kTileRows; ++row) {
      Bf16 a[kTileRowBytes / sizeof(Bf16)];
      std::memcpy(a, tiles_[kA][row], kTileRowBytes);
      float sums[kTileRowBytes / sizeof(float)];
      std::memcpy(sums, tiles_[kSum][row], kTileRowBytes);
      for (uint32_t column = 0; column < kTileRowBytes / sizeof(float); ++column) {
        float chains[2] = {0.0F, 0.0F};
        for (uint32_t k = 0; k < kTileRowBytes / sizeof(Bf16); ++k) {
          Bf16 b;
          std::memcpy(&b, tiles_[kB][k / 2] + (2 * column + k % 2) * sizeof(Bf16), sizeof(b));
          float& chain = chains[k % 2];
          chain = Flush(std::fma(Flush(Bf16ToFloat(a[k])), Flush(Bf16ToFloat(b)), chain));
        }
        sums[column] = Flush(Flush(sums[column]) + Flush(chains[0] + chains[1]));
      }
      std::memcpy(tiles_[kSum][row], sums, kTileRowBytes);
    }
  }

 private:
  // A denormal is a zero of its sign.
  static float Flush(float x) {
    const uint32_t bits = FloatBits(x);
    return (bits & 0x7F800000) == 0 ? FloatFromBits(bits & 0x80000000) : x;
  }

  static inline thread_local bool configured_ = false;
  static inline thread_local std::byte tiles_[8][kTileRows][kTileRowBytes];
};

}  // namespace recurve::amx

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_EMULATED_TILES_H_
