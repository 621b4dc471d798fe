// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_FACTORY_OPEN_CUDA_H_
#define RECURVE_ENGINE_BACKEND_FACTORY_OPEN_CUDA_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend_builder.h"
#include "engine/backend/factory/make_backend.h"

namespace recurve {

// OpenBackend's part for the name "cuda". Builds with the backend have it from open_cuda.cc, those
// without from open_no_cuda.cc, which refuses.
absl::StatusOr<std::unique_ptr<BackendBuilder>> OpenCuda(const BackendOptions& options);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_FACTORY_OPEN_CUDA_H_
