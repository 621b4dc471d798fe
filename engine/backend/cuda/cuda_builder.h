// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CUDA_CUDA_BUILDER_H_
#define RECURVE_ENGINE_BACKEND_CUDA_CUDA_BUILDER_H_

#include <memory>

#include "engine/backend/backend_builder.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/runtime.h"

namespace recurve::cuda {

// Builds a backend on this device, which it owns; the limits in `options` do not count. What is
// left for pages is what the device itself says is free when weights and tables lie there.
std::unique_ptr<BackendBuilder> MakeCudaBuilder(std::unique_ptr<Runtime> runtime,
                                                const CudaBackendOptions& options);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_CUDA_BUILDER_H_
