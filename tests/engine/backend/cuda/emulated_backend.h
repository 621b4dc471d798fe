// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_EMULATED_BACKEND_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_EMULATED_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/weights.h"

namespace recurve {

// The CUDA backend in f32, on an emulated device.
absl::StatusOr<std::unique_ptr<Backend>> MakeEmulatedCuda(std::shared_ptr<const Model> model,
                                                          const BackendLimits& limits);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_EMULATED_BACKEND_H_
