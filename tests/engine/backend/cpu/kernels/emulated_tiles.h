// SPDX-License-Identifier: Apache-2.0
// The tiles of AMX in plain C++, with the bits that the processor's give.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_EMULATED_TILES_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_EMULATED_TILES_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

  // Stands still: no blocking is faster than another.
  static uint64_t Now() { return 0; }

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
  template <typename Element, int kSum, int kA, int kB>
  static void Dot() {
    EXPECT_TRUE(configured_);
    if constexpr (std::is_same_v<Element, int8_t>) {
      DotInt8(tiles_[kSum], tiles_[kA], tiles_[kB]);
      return;
    }
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
  using Tile = std::byte[kTileRows][kTileRowBytes];

  // Sums that wrap around, as the processor's do.
  static void DotInt8(Tile& sum, const Tile& a, const Tile& b) {
    for (uint32_t row = 0; row < kTileRows; ++row) {
      for (uint32_t column = 0; column < kTileRowBytes / sizeof(int32_t); ++column) {
        uint32_t total;
        std::memcpy(&total, sum[row] + column * sizeof(total), sizeof(total));
        for (uint32_t k = 0; k < kTileRowBytes; ++k) {
          const auto x = static_cast<int8_t>(a[row][k]);
          const auto w = static_cast<int8_t>(b[k / 4][4 * column + k % 4]);
          total += static_cast<uint32_t>(int32_t{x} * w);
        }
        std::memcpy(sum[row] + column * sizeof(total), &total, sizeof(total));
      }
    }
  }

  // A denormal is a zero of its sign.
  static float Flush(float x) {
    const uint32_t bits = FloatBits(x);
    return (bits & 0x7F800000) == 0 ? FloatFromBits(bits & 0x80000000) : x;
  }

  static inline thread_local bool configured_ = false;
  static inline thread_local Tile tiles_[8];
};

}  // namespace recurve::amx

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_EMULATED_TILES_H_
