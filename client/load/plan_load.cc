// SPDX-License-Identifier: Apache-2.0
#include "client/load/plan_load.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace recurve::client {
namespace {

PlannedLoad Plan(const BenchFlags& flags, ArrivalPlan arrivals, uint32_t max_in_flight,
                 std::optional<Schedule> schedule) {
  LoadPlan plan;
  plan.arrivals = std::move(arrivals);
  plan.max_in_flight = max_in_flight;
  plan.warmup = flags.warmup;
  plan.measured = {.seconds = flags.duration};
  if (!flags.duration) plan.measured.requests = flags.requests.value_or(kDefaultRequests);
  plan.load_seed = flags.load_seed;
  plan.slo = flags.slo;
  plan.slo_share = flags.slo_share;
  LoadShape shape = {std::move(schedule), max_in_flight, plan.warmup, plan.measured};
  return {std::move(plan), std::move(shape)};
}

}  // namespace

PlannedLoad PlanClosedLoop(const BenchFlags& flags, uint32_t streams) {
  return Plan(flags, {}, streams, std::nullopt);
}

PlannedLoad PlanOpenLoop(const BenchFlags& flags, double rate) {
  const Schedule schedule =
      flags.arrivals == "constant"
          ? Schedule::Constant(rate)
          : Schedule::Gamma(rate, flags.burstiness.value_or(1), flags.load_seed);
  return Plan(flags, {flags.arrivals, rate, flags.burstiness}, flags.max_in_flight, schedule);
}

absl::StatusOr<PlannedLoad> PlanTrace(const BenchFlags& flags,
                                      const std::vector<TraceEntry>& trace) {
  const uint64_t warmup = flags.warmup.requests.value_or(0);
  const uint64_t measured = flags.requests.value_or(1);
  if (trace.size() < warmup + measured) {
    return absl::InvalidArgumentError(absl::StrCat("--trace has ", trace.size(),
                                                   " requests; --warmup is ", warmup,
                                                   " and --requests at least ", measured));
  }
  std::vector<double> starts;
  starts.reserve(trace.size());
  for (const TraceEntry& entry : trace) starts.push_back(entry.start);
  PlannedLoad load =
      Plan(flags, {.name = "trace"}, flags.max_in_flight, Schedule::Trace(std::move(starts)));
  if (!flags.requests && !flags.duration) {
    load.plan.measured = load.shape.measured = {.requests = trace.size() - warmup};
  }
  return load;
}

absl::StatusOr<std::vector<PlannedLoad>> PlanLoads(const BenchFlags& flags,
                                                   const std::vector<TraceEntry>& trace) {
  std::vector<PlannedLoad> loads;
  if (!trace.empty()) {
    auto load = PlanTrace(flags, trace);
    if (!load.ok()) return load.status();
    loads.push_back(*std::move(load));
  } else if (!flags.rates.empty()) {
    for (const double rate : flags.rates) loads.push_back(PlanOpenLoop(flags, rate));
  } else {
    for (const uint32_t streams : flags.streams) loads.push_back(PlanClosedLoop(flags, streams));
  }
  return loads;
}

}  // namespace recurve::client
