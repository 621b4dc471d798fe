// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_REPORT_TEXT_H_
#define RECURVE_CLIENT_LOAD_REPORT_TEXT_H_

#include <optional>
#include <string>

#include "client/load/report.h"
#include "client/load/target.h"

namespace recurve::client {

// `scale` times the value, with so many digits behind the point; "-" without one.
std::string Figure(int digits, const std::optional<double>& value, double scale = 1);

// At most six columns up to a quarter of an hour. What was measured, however short it was, does
// not look like nothing.
std::string Milliseconds(double seconds);

// "poisson arrivals of 12 requests/s", or "closed loop of 8 streams".
std::string ArrivalsText(const LoadPlan& plan);

struct TextStyle {
  bool is_brief = false;  // without histograms and definitions
  bool has_color = false;
};

// For people: lines of 80 columns, but for server names and messages, and the definitions. A
// figure that nothing was measured of is "-".
std::string ReportText(const std::string& server, const TargetInfo& info, const Report& report,
                       const TextStyle& style = {});

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REPORT_TEXT_H_
