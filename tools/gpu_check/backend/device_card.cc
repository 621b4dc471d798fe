// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/runtime_cuda.h"
#include "tools/gpu_check/backend/device.h"

namespace recurve::gpu_check {

absl::StatusOr<std::unique_ptr<Runtime>> MakeRuntime(const cuda::LoadDevice& /*drawn*/) {
  return cuda::MakeCudaRuntime(/*device=*/0);
}

}  // namespace recurve::gpu_check
