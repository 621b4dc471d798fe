// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_EMULATED_BACKEND_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_EMULATED_BACKEND_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve {

// Two that must give the same bits. The other one runs kernel by kernel, has other multiprocessors
// and another order of threads, and cuts kernels for other numbers of rows.
enum class EmulatedVariant : uint8_t { kUsual, kOther };

// The CUDA backend on an emulated device.
absl::StatusOr<std::unique_ptr<Backend>> MakeEmulatedCuda(
    std::shared_ptr<const Model> model, const BackendLimits& limits, Precision precision,
    EmulatedVariant variant = EmulatedVariant::kUsual);

// Opens the CUDA backend on an emulated device, whatever the name in its options. `*device` points
// to the device then, which lives as long as the builder and the backend that it makes.
BackendOpener EmulatedCudaOpener(const EmulatedOptions& emulated, EmulatedRuntime** device);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_EMULATED_BACKEND_H_
