// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/step_loop.h"

#include "engine/base/status_macros.h"

namespace recurve {

absl::Status RunSteps(Backend& backend, uint32_t queue_depth,
                      absl::FunctionRef<const StepPlan*()> next_plan,
                      absl::FunctionRef<void(const StepResult&)> commit) {
  StepResult result;  // one for all steps, so that its memory is reused
  while (true) {
    const StepPlan* const plan = next_plan();
    if (plan != nullptr) {
      RETURN_IF_ERROR(backend.Submit(*plan));
    } else if (backend.Outstanding() == 0) {
      return absl::OkStatus();
    }
    if (backend.Outstanding() > (plan != nullptr ? queue_depth : 0)) {
      RETURN_IF_ERROR(backend.Collect(result));
      commit(result);
    }
  }
}

}  // namespace recurve
