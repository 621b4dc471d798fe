// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

#include "absl/strings/str_format.h"

namespace recurve::client {

absl::Status CheckFlagsHaveValues(const std::vector<std::string_view>& arguments) {
  for (const std::string_view argument : arguments) {
    if (argument == "--") break;
    if (argument.substr(0, 2) != "--" || argument.find('=') != argument.size() - 1) continue;
    const std::string_view flag = argument.substr(0, argument.size() - 1);
    return absl::InvalidArgumentError(
        absl::StrFormat("%s has no value behind its '='; give one, or leave the flag out", flag));
  }
  return absl::OkStatus();
}

}  // namespace recurve::client
