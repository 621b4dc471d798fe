// SPDX-License-Identifier: Apache-2.0
// Several loads of the same kind, and what they say together.
#ifndef RECURVE_CLIENT_LOAD_SWEEP_H_
#define RECURVE_CLIENT_LOAD_SWEEP_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "client/load/report.h"
#include "client/load/report_text.h"

namespace recurve::client {

struct Sweep {
  std::vector<Report> points;  // in the order in which they ran
  bool is_search = false;      // for the highest rate that keeps the SLO
  std::optional<double> highest_rate = std::nullopt;
};

// The point where more load begins to cost more in latency than it brings in throughput: of the
// highest power, which is tokens/s over the mean E2E. None if nothing was completed.
std::optional<size_t> KneeOf(const std::vector<Report>& points);

// A row a point, the knee and the SLO marked.
std::string SweepText(const std::string& server, const std::string& model, const Sweep& sweep,
                      const TextStyle& style = {});

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SWEEP_H_
