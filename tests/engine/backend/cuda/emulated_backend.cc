// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/emulated_backend.h"

#include <utility>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_builder.h"

namespace recurve {

absl::StatusOr<std::unique_ptr<Backend>> MakeEmulatedCuda(std::shared_ptr<const Model> model,
                                                          const BackendLimits& limits,
                                                          Precision precision,
                                                          EmulatedVariant variant) {
  cuda::CudaBackendOptions options;
  options.limits = limits;
  options.precision = precision;
  EmulatedOptions device;
  if (variant == EmulatedVariant::kOther) {
    options.eager = true;
    options.overlap = false;
    options.least_rows = 40;
    device.facts.multiprocessors = 5;
    device.seed = 3;
  }
  return cuda::CudaBackend::Create(std::move(model), options,
                                   std::make_unique<EmulatedRuntime>(device));
}

BackendOpener EmulatedCudaOpener(const EmulatedOptions& emulated, EmulatedRuntime** device) {
  return [emulated, device](const BackendOptions& options) {
    cuda::CudaBackendOptions cuda;
    cuda.precision = options.precision;
    cuda.eager = options.eager;
    cuda.overlap = options.overlap;
    cuda.step_timeout = options.step_timeout;
    auto runtime = std::make_unique<EmulatedRuntime>(emulated);
    *device = runtime.get();
    return cuda::MakeCudaBuilder(std::move(runtime), cuda);
  };
}

}  // namespace recurve
