// SPDX-License-Identifier: Apache-2.0
// The device that this program was built for: a card, or an emulated one (device_card.cc,
// device_emulated.cc).
#ifndef RECURVE_TOOLS_GPU_CHECK_BACKEND_DEVICE_H_
#define RECURVE_TOOLS_GPU_CHECK_BACKEND_DEVICE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/cuda/runtime.h"
#include "tests/engine/backend/cuda/model_load.h"

namespace recurve::gpu_check {

// A card is what it is; an emulated one is as `drawn` says.
absl::StatusOr<std::unique_ptr<Runtime>> MakeRuntime(const cuda::LoadDevice& drawn);

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_BACKEND_DEVICE_H_
