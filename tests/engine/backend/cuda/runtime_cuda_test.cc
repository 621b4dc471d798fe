// SPDX-License-Identifier: Apache-2.0
// What the backend for cards does on whatever machine this is: that it links, and that a machine
// without a card is told so.
#include "engine/backend/cuda/runtime_cuda.h"

#include "engine/backend/cuda/cuda_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve::cuda {
namespace {

using testing::HasSubstr;

TEST(RuntimeCudaTest, OpensADeviceOrSaysWhatIsMissing) {
  auto runtime = MakeCudaRuntime(0);
  if (!runtime.ok()) {
    EXPECT_EQ(runtime.status().code(), absl::StatusCode::kFailedPrecondition) << runtime.status();
    EXPECT_THAT(std::string(runtime.status().message()), HasSubstr("or use --backend=cpu"));
    return;
  }
  EXPECT_GT((*runtime)->facts().multiprocessors, 0U);
  EXPECT_NE(MakeCudaBuilder(*std::move(runtime), {}), nullptr);  // all kernels are linked in
}

}  // namespace
}  // namespace recurve::cuda
