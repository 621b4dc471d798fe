// SPDX-License-Identifier: Apache-2.0
// The lines of JSON that the stages of gpu_check print.
#ifndef RECURVE_TOOLS_GPU_CHECK_REPORT_H_
#define RECURVE_TOOLS_GPU_CHECK_REPORT_H_

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace recurve::gpu_check {

// Prints {"stage": ..., "name": ..., <fields>} as one line to stdout and flushes. Quotes and
// control characters in texts become apostrophes and blanks.
using Field = std::pair<std::string, std::variant<double, std::string>>;
void Report(const std::string& stage, const std::string& name, const std::vector<Field>& fields);

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_REPORT_H_
