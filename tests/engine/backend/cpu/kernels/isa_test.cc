// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/isa.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::ElementsAre;

TEST(IsaTest, NamesAreChosenAmongThoseThatTheMachineHas) {
  const std::vector<Isa> all(std::begin(kIsas), std::end(kIsas));
  EXPECT_EQ(*ChooseIsa("auto", all), Isa::kAmx);
  for (const Isa isa : kIsas) EXPECT_EQ(*ChooseIsa(IsaName(isa), all), isa);
  const std::vector<Isa> some = {Isa::kScalar, Isa::kAvx2};
  EXPECT_EQ(*ChooseIsa("auto", some), Isa::kAvx2);
  EXPECT_EQ(*ChooseIsa("scalar", some), Isa::kScalar);
  EXPECT_EQ(ChooseIsa("avx512", some).status(),
            absl::FailedPreconditionError(
                "--isa is avx512, which this machine lacks; it has scalar, avx2"));
  for (const char* name : {"", "AVX2", "sse", "avx"}) {
    EXPECT_EQ(
        ChooseIsa(name, all).status(),
        absl::InvalidArgumentError(absl::StrCat(
            "--isa is '", name, "'; this version has auto, scalar, neon, avx2, avx512, amx")));
  }
}

TEST(IsaTest, ThisMachinesAreSupportedFromThePlainOneOn) {
  const std::vector<Isa> supported = SupportedIsas();
  EXPECT_EQ(supported.front(), Isa::kScalar);
  EXPECT_EQ(supported.back(), BestIsa());
}

#if defined(__x86_64__)

TEST(IsaTest, Avx512NeedsEachOfItsSubsetsAndItsRegistersSaved) {
  // Bits as Intel's manual numbers them: F, DQ, BW, VL; masks, upper halves, upper registers.
  constexpr uint32_t kSubsets[] = {16, 17, 30, 31};
  constexpr uint32_t kRegisters[] = {5, 6, 7};
  CpuWords all;
  for (const uint32_t bit : kSubsets) all.newer |= 1U << bit;
  for (const uint32_t bit : kRegisters) all.saved |= 1U << bit;
  EXPECT_THAT(IsasOf(all), ElementsAre(Isa::kScalar, Isa::kAvx2, Isa::kAvx512));
  for (const uint32_t bit : kSubsets) {
    CpuWords words = all;
    words.newer &= ~(1U << bit);
    EXPECT_THAT(IsasOf(words), ElementsAre(Isa::kScalar, Isa::kAvx2)) << bit;
  }
  for (const uint32_t bit : kRegisters) {
    CpuWords words = all;
    words.saved &= ~(1U << bit);
    EXPECT_THAT(IsasOf(words), ElementsAre(Isa::kScalar, Isa::kAvx2)) << bit;
  }
}

TEST(IsaTest, AmxNeedsItsTilesTheirRegistersSavedAndAvx512) {
  CpuWords all;
  for (const uint32_t bit : {16, 17, 30, 31}) all.newer |= 1U << bit;
  for (const uint32_t bit : {22, 24, 25}) all.newer_d |= 1U << bit;
  all.newer_c = 1U << 11;  // VNNI
  for (const uint32_t bit : {5, 6, 7, 17, 18}) all.saved |= 1U << bit;
  EXPECT_THAT(IsasOf(all), ElementsAre(Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAmx));
  for (const uint32_t bit : {22, 24, 25}) {
    CpuWords words = all;
    words.newer_d &= ~(1U << bit);
    EXPECT_EQ(IsasOf(words).back(), Isa::kAvx512) << bit;
  }
  for (const uint32_t bit : {17, 18}) {
    CpuWords words = all;
    words.saved &= ~(1U << bit);
    EXPECT_EQ(IsasOf(words).back(), Isa::kAvx512) << bit;
  }
  CpuWords no_vnni = all;
  no_vnni.newer_c = 0;
  EXPECT_EQ(IsasOf(no_vnni).back(), Isa::kAvx512);
  CpuWords narrow = all;
  narrow.newer = 0;
  EXPECT_EQ(IsasOf(narrow).back(), Isa::kAvx2);
}

TEST(IsaTest, VnniIsABitOfItsOwn) {
  CpuWords words;
  EXPECT_FALSE(HasVnni(words));
  words.newer_c = 1U << 11;  // as Intel's manual numbers it
  EXPECT_TRUE(HasVnni(words));
  words.newer_c = ~words.newer_c;
  EXPECT_FALSE(HasVnni(words));
}

#endif  // __x86_64__

}  // namespace
}  // namespace recurve
