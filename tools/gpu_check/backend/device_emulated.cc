// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/programmatic_runtime.h"
#include "tools/gpu_check/backend/device.h"

namespace recurve::gpu_check {

absl::StatusOr<std::unique_ptr<Runtime>> MakeRuntime(const cuda::LoadDevice& drawn) {
  EmulatedOptions emulated;
  emulated.facts.multiprocessors = drawn.multiprocessors;
  emulated.seed = drawn.seed;
  if (drawn.late) emulated.execution = Execution::kWhenWaitedFor;
  return std::make_unique<cuda::ProgrammaticRuntime>(emulated);
}

}  // namespace recurve::gpu_check
