// SPDX-License-Identifier: Apache-2.0
// Matrix products of NVIDIA's cuBLASLt, which is looked for when a program starts and not needed to
// build or to start one.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_CUBLAS_LT_H_
#define RECURVE_ENGINE_BACKEND_CUDA_CUBLAS_LT_H_

#include <cuda_runtime_api.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/runtime.h"

namespace recurve::cuda {

// Thread-compatible.
class CublasLt {
 public:
  // FailedPrecondition says which library was not found, lacks what, or does not work here.
  static absl::StatusOr<std::unique_ptr<CublasLt>> Load();

  virtual ~CublasLt() = default;

  // Bytes of device memory for Multiply.
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  // Queues a product. The algorithm for a size is chosen at its first call and stays.
  virtual absl::Status Multiply(const PlainProduct& product, const DeviceMemory& workspace,
                                cudaStream_t stream) = 0;
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_CUBLAS_LT_H_
