// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_REPORT_JSON_H_
#define RECURVE_CLIENT_LOAD_REPORT_JSON_H_

#include <string>

#include "client/load/report.h"
#include "client/load/sweep.h"
#include "client/load/target.h"

namespace recurve::client {

// One JSON object in a line, times in seconds, with the definitions under their figures' names. A
// figure that nothing was measured of is null.
std::string ReportJson(const TargetInfo& info, const Report& report);

// One JSON object in a line: such an object for each of `points`, the index of the `knee` among
// them, and the `highest_rate` that a search found; null where there is none.
std::string SweepJson(const TargetInfo& info, const Sweep& sweep);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REPORT_JSON_H_
