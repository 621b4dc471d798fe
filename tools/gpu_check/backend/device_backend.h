// SPDX-License-Identifier: Apache-2.0
// The CUDA backend on the device that this program was built for.
#ifndef RECURVE_TOOLS_GPU_CHECK_BACKEND_DEVICE_BACKEND_H_
#define RECURVE_TOOLS_GPU_CHECK_BACKEND_DEVICE_BACKEND_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"
#include "tests/engine/backend/cuda/model_load.h"

namespace recurve::gpu_check {

struct DeviceOptions {
  Precision precision = Precision::kBf16;
  bool eager = false;
  uint32_t least_rows = 0;  // for which kernels are cut
  cuda::LoadDevice device = {};
};
absl::StatusOr<std::unique_ptr<Backend>> MakeDeviceBackend(std::shared_ptr<const Model> model,
                                                           const BackendLimits& limits,
                                                           const DeviceOptions& options);

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_BACKEND_DEVICE_BACKEND_H_
