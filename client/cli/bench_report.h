// SPDX-License-Identifier: Apache-2.0
// What `recurve bench` says of a load.
#ifndef RECURVE_CLIENT_CLI_BENCH_REPORT_H_
#define RECURVE_CLIENT_CLI_BENCH_REPORT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "client/cli/closed_loop.h"
#include "client/cli/statistics.h"

namespace recurve::client {

struct Report {
  uint32_t streams = 0;
  uint64_t requests = 0, prompt_tokens = 0, generated_tokens = 0;
  double seconds = 0;
  std::optional<double> mean_depth;  // none without rows
  std::map<std::string, uint64_t> by_status;
  std::map<std::string, std::string> first_messages;  // of each status but OK
  Summary ttft, itl, tpot, e2e;

  bool all_ok() const { return by_status.size() == 1 && by_status.contains("OK"); }
};

// Every figure is as DefinitionsText says.
Report MakeReport(uint32_t streams, const LoadResult& load);

// How each figure is measured, a line each.
std::string DefinitionsText();

// A table, and the definitions.
std::string ReportText(const std::string& server, const v1::GetModelInfoResponse& info,
                       const Report& report);

// One JSON object, times in seconds, with the definitions under their figures' names.
std::string ReportJson(const v1::GetModelInfoResponse& info, const Report& report);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_BENCH_REPORT_H_
