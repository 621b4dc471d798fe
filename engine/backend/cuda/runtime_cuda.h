// SPDX-License-Identifier: Apache-2.0
// Runtime on a card, by the CUDA runtime.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_RUNTIME_CUDA_H_
#define RECURVE_ENGINE_BACKEND_CUDA_RUNTIME_CUDA_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/cuda/runtime.h"

namespace recurve::cuda {

// Device number `device` among those that CUDA_VISIBLE_DEVICES shows. FailedPrecondition, in one
// sentence, says what was found and what is needed: no driver, one that is too old, no device.
absl::StatusOr<std::unique_ptr<Runtime>> MakeCudaRuntime(uint32_t device);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_RUNTIME_CUDA_H_
