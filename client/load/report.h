// SPDX-License-Identifier: Apache-2.0
// What `recurve bench` says of a load.
#ifndef RECURVE_CLIENT_LOAD_REPORT_H_
#define RECURVE_CLIENT_LOAD_REPORT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/load/closed_loop.h"
#include "client/load/statistics.h"

namespace recurve::client {

// A load as it was asked for.
struct LoadPlan {
  uint32_t streams = 0;
  uint64_t requests = 0;
  std::optional<uint64_t> prompt_seed;  // of random prompts; none if they came from a file
};

// Requests that ended in the same way.
struct Outcome {
  uint64_t requests = 0;
  uint64_t generated_tokens = 0;  // that their clients were told of
  std::string first_message;      // of the first that ended so; empty for those completed
};

inline constexpr char kCompleted[] = "OK";
// Ended with OK, but by the server's shutdown, amid the text.
inline constexpr char kDrained[] = "DRAINED";

struct Report {
  LoadPlan plan;
  double seconds = 0;
  bool interrupted = false;
  // Everything that was sent, by status: kCompleted, kDrained, or the name of a status' code.
  std::map<std::string, Outcome> outcomes;
  // Of everything that was sent: tries beyond the first, and samples that another server went on
  // with.
  uint64_t retries = 0, resumes = 0;
  std::map<std::string, uint64_t> by_server;  // requests, by the server of their last try

  // Of completed requests alone.
  uint64_t prompt_tokens = 0, cached_prompt_tokens = 0, generated_tokens = 0;
  std::optional<double> mean_depth;  // none without rows
  Summary ttft, itl, tpot, e2e;

  uint64_t completed() const;
  uint64_t sent() const;
  // The share of prompt tokens that the cache had; none without prompt tokens.
  std::optional<double> cached_prompt_share() const;
  // `count` over `seconds`; none where no time passed.
  std::optional<double> Rate(uint64_t count) const;
  // Rate, of something that only completed requests have; none without completed requests.
  std::optional<double> CompletedRate(uint64_t count) const;
  // What makes the figures something else than they seem, a sentence each.
  std::vector<std::string> Warnings() const;
};

// Every figure is as DefinitionsText says.
Report MakeReport(const LoadPlan& plan, const LoadResult& load);

// How each figure is measured, a line each.
std::string DefinitionsText();

// A table, and the definitions. A figure that nothing was measured of is "-".
std::string ReportText(const std::string& server, const v1::GetModelInfoResponse& info,
                       const Report& report);

// One JSON object, times in seconds, with the definitions under their figures' names. A figure that
// nothing was measured of is null.
std::string ReportJson(const v1::GetModelInfoResponse& info, const Report& report);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REPORT_H_
