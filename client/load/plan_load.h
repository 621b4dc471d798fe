// SPDX-License-Identifier: Apache-2.0
// The loads that the flags of `recurve bench` ask for.
#ifndef RECURVE_CLIENT_LOAD_PLAN_LOAD_H_
#define RECURVE_CLIENT_LOAD_PLAN_LOAD_H_

#include <vector>

#include "absl/status/statusor.h"
#include "client/load/bench_flags.h"
#include "client/load/pacing.h"
#include "client/load/report.h"
#include "client/load/trace.h"

namespace recurve::client {

struct PlannedLoad {
  LoadPlan plan;
  LoadShape shape;
};

PlannedLoad PlanClosedLoop(const BenchFlags& flags, uint32_t streams);
PlannedLoad PlanOpenLoop(const BenchFlags& flags, double rate);
// InvalidArgument if the trace has not as many requests as the flags ask for.
absl::StatusOr<PlannedLoad> PlanTrace(const BenchFlags& flags,
                                      const std::vector<TraceEntry>& trace);

// One, or those of a sweep; `trace` is that of the flags, if they have one.
absl::StatusOr<std::vector<PlannedLoad>> PlanLoads(const BenchFlags& flags,
                                                   const std::vector<TraceEntry>& trace);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_PLAN_LOAD_H_
