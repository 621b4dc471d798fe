// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_check/backend/device_backend.h"

#include <utility>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/base/status_macros.h"
#include "tools/gpu_check/backend/device.h"

namespace recurve::gpu_check {

absl::StatusOr<std::unique_ptr<Backend>> MakeDeviceBackend(std::shared_ptr<const Model> model,
                                                           const BackendLimits& limits,
                                                           const DeviceOptions& options) {
  cuda::CudaBackendOptions cuda;
  cuda.limits = limits;
  cuda.precision = options.precision;
  cuda.eager = options.eager;
  cuda.least_rows = options.least_rows;
  ASSIGN_OR_RETURN(std::unique_ptr<Runtime> runtime, MakeRuntime(options.device));
  return cuda::CudaBackend::Create(std::move(model), cuda, std::move(runtime));
}

}  // namespace recurve::gpu_check
