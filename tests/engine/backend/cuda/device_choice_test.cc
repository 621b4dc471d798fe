// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device_choice.h"

#include "gtest/gtest.h"

namespace recurve::cuda {
namespace {

FoundDevices Found(int driver, int devices) {
  return {.driver = driver,
          .needed = 13000,
          .driver_too_old = driver < 13000,
          .devices = devices,
          .error = "no CUDA-capable device is detected"};
}

TEST(DeviceChoiceTest, SaysWhatAMachineLacks) {
  EXPECT_EQ(CheckFound(Found(0, 0), 0),
            absl::FailedPreconditionError(
                "this machine has no CUDA driver, and --backend=cuda needs one for CUDA 13.0 or "
                "newer; install it, or use --backend=cpu"));
  EXPECT_EQ(CheckFound(Found(12040, 0), 0),
            absl::FailedPreconditionError(
                "the CUDA driver of this machine is for CUDA 12.4, and --backend=cuda needs one "
                "for CUDA 13.0 or newer; update it, or use --backend=cpu"));
  EXPECT_EQ(CheckFound(Found(13010, 0), 0),
            absl::FailedPreconditionError(
                "the CUDA driver shows no device (no CUDA-capable device is detected), and "
                "--backend=cuda needs one; see nvidia-smi and CUDA_VISIBLE_DEVICES, or use "
                "--backend=cpu"));
}

TEST(DeviceChoiceTest, TakesADeviceThatIsThere) {
  EXPECT_EQ(CheckFound(Found(13000, 2), 1), absl::OkStatus());
  EXPECT_EQ(CheckFound(Found(13000, 2), 2),
            absl::InvalidArgumentError("--device is 2; the CUDA driver shows 2, numbered from 0 on "
                                       "(CUDA_VISIBLE_DEVICES)"));
}

TEST(DeviceChoiceTest, RefusesKindsThatNoKernelIsCompiledFor) {
  DeviceFacts facts;
  facts.name = "Tesla V100";
  facts.architecture = 70;
  EXPECT_EQ(CheckArchitecture(facts, 3),
            absl::FailedPreconditionError(
                "device 3, Tesla V100, has compute capability 7.0, and --backend=cuda needs 8.0 or "
                "newer; choose another with --device, or use --backend=cpu"));
  facts.architecture = 120;
  EXPECT_EQ(CheckArchitecture(facts, 0), absl::OkStatus());
}

}  // namespace
}  // namespace recurve::cuda
