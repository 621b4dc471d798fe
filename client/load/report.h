// SPDX-License-Identifier: Apache-2.0
// The figures of a load, as client/load/definitions.h defines them.
#ifndef RECURVE_CLIENT_LOAD_REPORT_H_
#define RECURVE_CLIENT_LOAD_REPORT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/load/course.h"
#include "client/load/pacing.h"
#include "client/load/run_load.h"
#include "client/load/server_delta.h"
#include "client/load/slo.h"
#include "client/load/statistics.h"

namespace recurve::client {

// How requests arrive.
struct ArrivalPlan {
  std::string name = "closed_loop";           // or constant, poisson, gamma, trace
  std::optional<double> rate = std::nullopt;  // of an open loop that is no trace, requests a second
  std::optional<double> burstiness = std::nullopt;  // of gamma

  bool is_closed() const { return name == "closed_loop"; }
};

// A load as it was asked for.
struct LoadPlan {
  ArrivalPlan arrivals;
  uint32_t max_in_flight = 0;  // in a closed loop its streams
  Extent warmup = {.requests = 0};
  Extent measured = {.requests = 0};
  uint64_t load_seed = 0;
  std::optional<uint64_t> prompt_seed;  // of random prompts; none if they came from a file
  std::optional<Slo> slo;
  double slo_share = 0.99;  // of the requests, that must keep it
};

// Requests that ended in the same way.
struct Outcome {
  uint64_t requests = 0;
  uint64_t generated_tokens = 0;  // that their clients were told of
  std::string first_message;      // of the first that ended so; empty for those completed
};

// How a load stands to its SLO.
struct Goodput {
  uint64_t judged = 0;  // measured requests, but for those that an interruption cut short
  uint64_t good = 0;
  uint64_t window_good = 0;  // good ones, warm-up included, that ended in the window
  // Requests that are not good, by what they missed, of which one may have several: names of
  // Slo::kFigures, or kNotCompleted.
  std::map<std::string, uint64_t> missed;

  static constexpr char kNotCompleted[] = "completion";
  // None if nothing was judged.
  std::optional<double> share() const;
};

struct Report {
  LoadPlan plan;
  double seconds = 0;  // of the window
  bool interrupted = false;
  // Every measured request that was sent without a fault, by RequestRecord::outcome; and those that
  // had one, by what it was.
  std::map<std::string, Outcome> outcomes;
  std::map<std::string, std::map<std::string, uint64_t>> faults;
  // Of these: tries beyond the first, and samples that another server went on with.
  uint64_t retries = 0, resumes = 0;
  // Refusals that said when to come again, and what they said, together.
  uint64_t pushbacks = 0;
  double pushback_seconds = 0;
  std::map<std::string, uint64_t> by_server;  // requests, by the server of their last try
  // Those whose server did not tell how many tokens its messages bring, by whether it told their
  // sum.
  uint64_t with_spread_tokens = 0, with_unknown_tokens = 0;

  Course course;
  // What this client itself took for the whole load: processors that were busy, and their seconds
  // a token that came; none without time, and without tokens.
  std::optional<double> client_cpus, client_seconds_per_token;

  // Of completed requests, warm-up included: what fell into the window.
  uint64_t window_requests = 0, window_prompt_tokens = 0, window_tokens = 0;

  std::optional<Goodput> goodput;  // with an SLO

  // Of measured, completed requests without a fault.
  uint64_t prompt_tokens = 0, cached_prompt_tokens = 0, generated_tokens = 0;
  std::optional<double> mean_depth;  // none without rows
  Summary ttft, itl, tpot, e2e, client_queue;

  // None with several servers, or where the server did not tell.
  std::optional<ServerDelta> server;

  // Without an SLO, or with nothing judged, it is not met.
  bool slo_is_met() const;
  uint64_t completed() const;
  uint64_t sent() const;  // without a fault
  uint64_t faulted() const;
  // The share of prompt tokens that the cache had; none without prompt tokens.
  std::optional<double> cached_prompt_share() const;
  // `count` over `seconds`; none where no time passed.
  std::optional<double> Rate(uint64_t count) const;
  // Rate, of something that only completed requests have; none without completed requests.
  std::optional<double> CompletedRate(uint64_t count) const;
  // What makes the figures something else than they seem, a sentence each.
  std::vector<std::string> Warnings() const;
};

Report MakeReport(const LoadPlan& plan, const LoadResult& load);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REPORT_H_
