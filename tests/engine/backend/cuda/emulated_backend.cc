// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/emulated_backend.h"

#include <utility>

#include "engine/backend/cuda/cuda_backend.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve {

absl::StatusOr<std::unique_ptr<Backend>> MakeEmulatedCuda(std::shared_ptr<const Model> model,
                                                          const BackendLimits& limits) {
  cuda::CudaBackendOptions options;
  options.limits = limits;
  return cuda::CudaBackend::Create(std::move(model), options, std::make_unique<EmulatedRuntime>());
}

}  // namespace recurve
