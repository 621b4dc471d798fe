// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_REPORT_TEXT_H_
#define RECURVE_CLIENT_LOAD_REPORT_TEXT_H_

#include <string>

#include "client/load/report.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// "poisson arrivals of 12 requests/s", or "closed loop of 8 streams".
std::string ArrivalsText(const LoadPlan& plan);

// For people: lines of 80 columns, but for server names and messages, and the definitions. A
// figure that nothing was measured of is "-".
std::string ReportText(const std::string& server, const v1::GetModelInfoResponse& info,
                       const Report& report);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REPORT_TEXT_H_
