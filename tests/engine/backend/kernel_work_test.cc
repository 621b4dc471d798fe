// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/kernel_work.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr WorkCount kProduct = {
    .part = kPartBlock, .weight_bytes = 100, .row_bytes = 10, .row_flops = 50};
constexpr WorkCount kAttention = {
    .part = kPartBlock, .row_bytes = 2, .entry_bytes = 3, .entry_flops = 7};

TEST(KernelWork, GrowsWithRowsAndEntries) {
  EXPECT_EQ(kProduct.Bytes(1, 9), 110);
  EXPECT_EQ(kProduct.Bytes(4, 9), 140);
  EXPECT_EQ(kProduct.Flops(4, 9), 200);
  EXPECT_EQ(kAttention.Bytes(4, 9), 4 * (2 + 27));
  EXPECT_EQ(kAttention.Flops(4, 9), 4 * 63);
}

TEST(KernelWork, IsNothingWithoutRows) {
  EXPECT_EQ(kProduct.Bytes(0, 9), 0) << "nobody reads weights for no row";
  EXPECT_EQ(kAttention.Flops(0, 9), 0);
}

TEST(KernelWork, OfALaunchNeedsNoRows) {
  WorkCount planner = kProduct;
  planner.launch_bytes = 1000;
  EXPECT_EQ(planner.Bytes(0, 9), 1000);
  EXPECT_EQ(planner.Bytes(4, 9), 1140);
}

TEST(KernelWork, IsDividedByAllSteps) {
  WorkCount mean = {.launch_bytes = 8,
                    .weight_bytes = 16,
                    .row_bytes = 24,
                    .row_flops = 32,
                    .entry_bytes = 40,
                    .entry_flops = 48};
  mean /= 8;
  EXPECT_EQ(mean.launch_bytes, 1);
  EXPECT_EQ(mean.Bytes(1, 1), 1 + 2 + 3 + 5);
  EXPECT_EQ(mean.Flops(1, 1), 4 + 6);
}

TEST(KernelWork, LaunchesAreSummedByKernelAndPart) {
  std::vector<KernelWork> kernels;
  WorkCount exit = kProduct;
  exit.part = kPartExit;
  exit.launch_bytes = 6;
  AddLaunch("product", kProduct, kernels);
  AddLaunch("attention", kAttention, kernels);
  AddLaunch("product", exit, kernels);
  AddLaunch("product", kProduct, kernels);
  ASSERT_EQ(kernels.size(), 3U);
  EXPECT_EQ(kernels[0].name, "product");
  EXPECT_EQ(kernels[0].launches, 2);
  EXPECT_EQ(kernels[0].work.weight_bytes, 200);
  EXPECT_EQ(kernels[0].work.row_flops, 100);
  EXPECT_EQ(kernels[1].name, "attention");
  EXPECT_EQ(kernels[2].work.part, kPartExit);
  EXPECT_EQ(kernels[2].launches, 1);
  EXPECT_EQ(kernels[2].work.launch_bytes, 6);
}

}  // namespace
}  // namespace recurve
