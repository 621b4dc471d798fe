// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_SCHEDULE_MEASURE_COSTS_H_
#define RECURVE_ENGINE_SCHEDULE_MEASURE_COSTS_H_

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"
#include "engine/schedule/options.h"
#include "engine/schedule/stage_costs.h"

namespace recurve {

// Runs some tens of steps on `backend`, which has nothing to do and whose limits are those of
// `options`, and takes from their results what stages cost: few rows to as many as it has slots
// for, and prompts. A number of rows is left out where the pool has not as many pages. Takes some
// tenths of a second with a small model on few cores, seconds with a large one. The backend's slots
// and pages are free again afterwards. An error is the backend's.
absl::StatusOr<StageCosts> MeasureCosts(Backend& backend, const ScheduleOptions& options,
                                        const StepShape& shape);

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_MEASURE_COSTS_H_
