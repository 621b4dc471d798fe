// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/factory/open_cuda.h"

#include <utility>

#include "engine/backend/cuda/cuda_builder.h"
#include "engine/backend/cuda/runtime_cuda.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// With fewer rows a product's time is that of reading its weights, at which our kernels are as
// fast.
constexpr uint32_t kLibraryRows = 256;

}  // namespace

absl::StatusOr<std::unique_ptr<BackendBuilder>> OpenCuda(const BackendOptions& options) {
  cuda::CudaBackendOptions cuda;
  cuda.precision = options.precision;
  cuda.eager = options.eager;
  cuda.overlap = options.overlap;
  cuda.library_rows = options.deterministic ? 0 : kLibraryRows;
  cuda.step_timeout = options.step_timeout;
  ASSIGN_OR_RETURN(std::unique_ptr<Runtime> runtime, cuda::MakeCudaRuntime(options.device));
  return cuda::MakeCudaBuilder(std::move(runtime), cuda);
}

}  // namespace recurve
