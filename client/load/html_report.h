// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_HTML_REPORT_H_
#define RECURVE_CLIENT_LOAD_HTML_REPORT_H_

#include <string>

#include "client/load/report.h"
#include "client/load/run_load.h"

namespace recurve::client {

// One page with plots of a load and `text`, its report for people. It refers to nothing else, and
// has no scripts.
std::string HtmlReport(const std::string& text, const LoadResult& load);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_HTML_REPORT_H_
