// SPDX-License-Identifier: Apache-2.0
#include "absl/status/status.h"
#include "engine/backend/factory/open_cuda.h"

namespace recurve {

absl::StatusOr<std::unique_ptr<BackendBuilder>> OpenCuda(const BackendOptions& /*options*/) {
  return absl::FailedPreconditionError(
      "--backend is 'cuda', which this build does not have; build with `cmake --preset cuda`, or "
      "use --backend=cpu");
}

}  // namespace recurve
