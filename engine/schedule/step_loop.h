// SPDX-License-Identifier: Apache-2.0
// The loop between who makes plans and who runs them: the engine's, and that of measurements.
#ifndef RECURVE_ENGINE_SCHEDULE_STEP_LOOP_H_
#define RECURVE_ENGINE_SCHEDULE_STEP_LOOP_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve {

// Runs steps on `backend` until `next_plan` has no plan and nothing is outstanding. Round by round:
// - `next_plan` is asked for the plan of the next step; null: there is none now. The plan is
//   submitted at once, and must stay valid until then. `next_plan` may wait for work, but only if
//   `backend` has nothing outstanding: results that wait to be collected may bring work too.
// - If more than `queue_depth` steps are outstanding, or any when there was no plan, the oldest
//   result is collected and given to `commit`, which may use it during the call. So up to
//   `queue_depth` steps are queued behind the one that runs while a plan is made.
// Whoever notes when the running step began does so at the end of `next_plan`, if nothing was
// outstanding, and at the end of `commit`, if something still is.
//
// All is called on the caller's thread. OK at the end; else the backend's error, at once: what is
// outstanding then is neither collected nor committed.
absl::Status RunSteps(Backend& backend, uint32_t queue_depth,
                      absl::FunctionRef<const StepPlan*()> next_plan,
                      absl::FunctionRef<void(const StepResult&)> commit);

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_STEP_LOOP_H_
