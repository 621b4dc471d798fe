// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/mma_warp.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simt/device_vectors.h"
#include "tests/simt/mma_hopper.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve {
namespace {

struct Case {
  uint16_t a[16][16];
  uint16_t b[8][16];  // by column
  uint32_t c[16][8];
};

// The lanes' fragments as the instruction's definition numbers them.
struct Lanes {
  explicit Lanes(const Case& of) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t g = lane / 4;
      const uint32_t q = lane % 4;
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = g + i % 2 * 8;
        const uint32_t k = 2 * q + i / 2 * 8;
        a[lane].w[i] = of.a[row][k] | uint32_t{of.a[row][k + 1]} << 16;
        sums[lane][i] = std::bit_cast<float>(of.c[g + i / 2 * 8][2 * q + i % 2]);
      }
      for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t k = 2 * q + i * 8;
        b[lane].w[i] = of.b[g][k] | uint32_t{of.b[g][k + 1]} << 16;
      }
      operands[lane] = {&a[lane], &b[lane], sums[lane].data()};
    }
  }
  uint32_t Sum(uint32_t row, uint32_t column) const {
    return std::bit_cast<uint32_t>(sums[row % 8 * 4 + column / 2][row / 8 * 2 + column % 2]);
  }
  std::array<simt::Words4, 32> a = {};
  std::array<simt::Words2, 32> b = {};
  std::array<std::array<float, 4>, 32> sums = {};
  std::array<MmaOperands, 32> operands = {};
};

void ExpectModel(const Case& c) {
  Lanes lanes(c);
  MultiplyWarp(lanes.operands.data());
  for (uint32_t row = 0; row < 16; ++row) {
    for (uint32_t column = 0; column < 8; ++column) {
      ASSERT_EQ(lanes.Sum(row, column), MmaSum(c.a[row], 1, c.b[column], 1, c.c[row][column]))
          << "row " << row << ", column " << column;
    }
  }
}

class RandomCases {
 public:
  // Exponent fields in [low, low + span), or anything at all.
  Case Draw(uint32_t low, uint32_t span) {
    Case c;
    for (auto& row : c.a) {
      for (uint16_t& value : row) value = DrawBf16(low, span);
    }
    for (auto& column : c.b) {
      for (uint16_t& value : column) value = DrawBf16(low, span);
    }
    for (auto& row : c.c) {
      for (uint32_t& value : row) {
        value = uint32_t{DrawBf16(low, span)} << 16 | (random_() & 0xFFFF);
      }
    }
    for (uint32_t i = random_() % 3; i > 0; --i) {
      std::fill_n(c.a[random_() % 16], 16, uint16_t{0});
      std::fill_n(c.b[random_() % 8], 16, uint16_t{0x8000});
      c.c[random_() % 16][random_() % 8] = 0x80000000;
    }
    return c;
  }

 private:
  uint16_t DrawBf16(uint32_t low, uint32_t span) {
    const uint32_t field = low + random_() % span;
    return static_cast<uint16_t>((random_() & 0x807F) | field << 7);
  }
  std::mt19937 random_{5};
};

TEST(MmaWarp, IsTheModelInEveryPlace) {
  RandomCases cases;
  for (int i = 0; i < 300; ++i) ExpectModel(cases.Draw(110, 30));
  for (int i = 0; i < 300; ++i) ExpectModel(cases.Draw(0, 255));
}

TEST(MmaWarp, IsTheModelForDenormalsInfinitiesAndNan) {
  RandomCases cases;
  for (int i = 0; i < 200; ++i) ExpectModel(cases.Draw(0, 2));
  for (int i = 0; i < 200; ++i) ExpectModel(cases.Draw(248, 8));
}

// ---- In kernels ----

using Kernel = void (*)(simt::Out<float>);

// 16 x 8 ones times ones, added to 1: each sum is 17.
void AddOnes(float (&sums)[4]) {
  constexpr uint32_t kOnes = 0x3F803F80;
  for (float& sum : sums) sum = 1.0F;
  simt::Mma(sums, {{kOnes, kOnes, kOnes, kOnes}}, {{kOnes, kOnes}});
}

TEST(Mma, EachWarpMeetsByItself) {
  EmulatedRuntime runtime;
  const DeviceMemory out = *runtime.Allocate("sums", 4 * 64 * sizeof(float));
  const Kernel kernel = [](simt::Out<float> sums_out) {
    float sums[4];
    // The second warp multiplies once more.
    AddOnes(sums);
    if (simt::ThreadIndex() >= simt::kWarp) {
      simt::Mma(sums, {}, {});
      for (float& sum : sums) sum += 1.0F;
    }
    for (uint32_t i = 0; i < 4; ++i) sums_out.Set(simt::ThreadIndex() * 4 + i, sums[i]);
  };
  ASSERT_EQ(Launch(runtime, "kernel", kernel, {1, 64}, {out, 0, 256}), absl::OkStatus());
  const std::vector<float> sums = Downloaded<float>(runtime, out);
  for (uint32_t i = 0; i < 256; ++i) EXPECT_EQ(sums[i], i < 128 ? 17.0F : 18.0F) << i;
}

// The launch fails with the one report `text`.
void ExpectReport(const std::string& text, Kernel kernel, const LaunchShape& shape) {
  EmulatedRuntime runtime;
  EXPECT_EQ(Launch(runtime, "kernel", kernel, shape, {}), absl::InternalError(text));
  EXPECT_THAT(runtime.reports(), testing::ElementsAre(text));
}

TEST(Mma, AWarpMustHaveAllLanes) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](simt::Out<float>) {
    float sums[4] = {};
    if (simt::ThreadIndex() >= 40) simt::Mma(sums, {}, {});
  };
  ExpectReport(absl::StrCat("kernel: block 0, thread 40: is of a warp with absent lanes, in Mma() "
                            "at mma_warp_test.cc:",
                            kLine + 3),
               kernel, {1, 41});
}

TEST(Mma, LanesMustComeToTheSameCall) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](simt::Out<float>) {
    float sums[4] = {};
    // NOLINTNEXTLINE(bugprone-branch-clone): two calls in two lines are what is tested
    if (simt::ThreadIndex() % 32 < 8) {
      simt::Mma(sums, {}, {});
    } else {
      simt::Mma(sums, {}, {});
    }
  };
  ExpectReport(absl::StrCat("kernel: block 0: the threads of warp 0 do not meet: 0-7 wait in "
                            "Mma() at mma_warp_test.cc:",
                            kLine + 5, "; 8-31 wait in Mma() at mma_warp_test.cc:", kLine + 7),
               kernel, {1, 32});
}

TEST(Mma, AllLanesOfAWarpMustCome) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](simt::Out<float>) {
    float sums[4] = {};
    if (simt::ThreadIndex() != 35) simt::Mma(sums, {}, {});
  };
  ExpectReport(absl::StrCat("kernel: block 0: the threads of warp 1 do not meet: 32-34, 36-63 wait "
                            "in Mma() at mma_warp_test.cc:",
                            kLine + 3, "; 35 have returned"),
               kernel, {1, 64});
}

}  // namespace
}  // namespace recurve
