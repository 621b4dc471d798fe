// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_REPORT_CSV_H_
#define RECURVE_CLIENT_LOAD_REPORT_CSV_H_

#include <string>
#include <vector>

#include "client/load/report.h"
#include "client/load/target.h"

namespace recurve::client {

// A line of names, and one for each load: what of its JSON is one number, word or truth, times in
// seconds. A figure that nothing was measured of is empty. The columns are always the same.
std::string ReportsCsv(const TargetInfo& info, const std::vector<Report>& loads);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_REPORT_CSV_H_
