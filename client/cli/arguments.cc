// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

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

absl::Status CheckCommand(const std::vector<std::string_view>& arguments,
                          const std::vector<std::string>& commands) {
  const std::string known = absl::StrJoin(commands, ", ");
  if (arguments.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("a command is missing; there are ", known));
  }
  const std::string command(arguments.front());
  if (command.starts_with('-')) return absl::OkStatus();
  if (std::find(commands.begin(), commands.end(), command) != commands.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", command, "' is no command; there are ", known));
}

CLI::Validator WholeNumber(uint64_t most) {
  const auto check = [most](std::string& text) -> std::string {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(text, &number) || number > most) {
      return absl::StrCat("'", text, "' is not possible: expected a whole number from 0 to ", most);
    }
    text = absl::StrCat(number);
    return "";
  };
  return CLI::Validator(check, "");
}

}  // namespace recurve::client
