// SPDX-License-Identifier: Apache-2.0
// Command-line flags of `recurve bench`.
#ifndef RECURVE_CLIENT_LOAD_BENCH_FLAGS_H_
#define RECURVE_CLIENT_LOAD_BENCH_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/request_flags.h"
#include "client/load/extent.h"
#include "client/load/faults.h"
#include "client/load/length.h"
#include "client/load/make_target.h"
#include "client/load/slo.h"

namespace CLI {
class App;
}

namespace recurve::client {

struct BenchFlags {
  ConnectionFlags connection;
  TargetFlags target;
  SamplingFlags sampling;

  std::vector<uint32_t> streams = {8};  // of a closed loop; several are a sweep
  std::vector<double> rates;            // of an open loop, likewise; or `trace`
  bool find_rate = false;               // from the one of `rates` on
  std::string arrivals = "poisson";     // with a rate
  std::optional<double> burstiness;     // with gamma arrivals
  std::string trace;                    // file
  uint32_t max_in_flight = 10000;       // of an open loop
  uint64_t load_seed = 0;

  std::optional<uint64_t> requests;  // or `duration`; neither: kDefaultRequests, or all of a trace
  std::optional<double> duration;    // seconds
  Extent warmup = {.requests = 8};

  std::optional<Slo> slo;
  double slo_share = 0.99;  // of the requests, that must keep it

  Faults faults;

  std::string prompts, sharegpt;  // files; or random ones:
  Length prompt_tokens = Length(128);
  std::optional<uint64_t> prompt_seed;

  Length max_tokens = Length(128);

  std::string format = "text";
  bool quiet = false, no_color = false;
  std::string requests_file, html_file;
};
inline constexpr uint64_t kDefaultRequests = 64;

void AddBenchFlags(CLI::App& app, BenchFlags& flags);

// Numbers with commas between them. InvalidArgument says what is expected.
absl::StatusOr<std::vector<uint32_t>> ParseStreams(const std::string& text);
absl::StatusOr<std::vector<double>> ParseRates(const std::string& text);

// InvalidArgument names flags that do not fit together, of those that the parser lets through.
absl::Status CheckBenchFlags(const BenchFlags& flags);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_BENCH_FLAGS_H_
