// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/cpu_probe.h"

#include "engine/backend/cpu/kernels/peak.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

// Structure alone: how fast a machine is, no test asks.
TEST(CpuProbeTest, MeasuresProductsOfEachUseOnAnyIsa) {
  using Use = ProductShape::Use;
  for (const Isa isa : SupportedIsas()) {
    const auto probe = CpuProbe::Create(isa, Precision::kBf16, 2, 1 << 20);
    ASSERT_TRUE(probe.ok()) << probe.status();
    const MachineRates rates = (*probe)->Measure();
    EXPECT_GT(rates.bytes_per_second, 0);
    EXPECT_GT(rates.flops_per_second, 0);
    for (const Use use : {Use::kStore, Use::kAdd, Use::kGate}) {
      ASSERT_TRUE((*probe)->Load({.outputs = 256, .inputs = 512, .use = use}, 3).ok());
      EXPECT_EQ((*probe)->matrix_bytes(), 2U * 256 * 512);
      EXPECT_EQ((*probe)->all_bytes(), 1U << 20);
      EXPECT_GT((*probe)->Time(1), 0);
      EXPECT_GT((*probe)->Time(3), 0);
    }
  }
}

TEST(CpuProbeTest, MeasuresInt8) {
  for (const Isa isa : SupportedIsas()) {
    const auto probe = CpuProbe::Create(isa, Precision::kInt8, 2, 1 << 20);
    ASSERT_TRUE(probe.ok()) << probe.status();
    EXPECT_GT((*probe)->Measure().flops_per_second, 0);
    ASSERT_TRUE((*probe)->Load({.outputs = 256, .inputs = 512}, 3).ok());
    EXPECT_GT((*probe)->Time(3), 0);
  }
}

TEST(PeakTest, CountsFlopsOfWholeRounds) {
  for (const Isa isa : SupportedIsas()) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
      const uint64_t one = RunPeak(isa, precision, 1);
      EXPECT_GT(one, 0U);
      EXPECT_EQ(RunPeak(isa, precision, 5), 5 * one);
    }
  }
}

}  // namespace
}  // namespace recurve
