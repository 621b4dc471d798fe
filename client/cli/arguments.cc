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

CLI::Validator WholeNumber(uint64_t least, uint64_t most) {
  const auto check = [least, most](std::string& text) -> std::string {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(text, &number) || number < least || number > most) {
      return absl::StrCat("'", text, "' is not possible: expected a whole number from ", least,
                          " to ", most);
    }
    text = absl::StrCat(number);
    return "";
  };
  return CLI::Validator(check, "");
}

CLI::Validator Number(const Interval& interval) {
  const auto check = [interval](std::string& text) -> std::string {
    float number = 0;
    const bool inside = absl::SimpleAtof(text, &number) && number >= interval.least &&
                        number <= interval.most &&
                        !(interval.without_least && number == interval.least) &&
                        !(interval.without_most && number == interval.most);
    if (inside) return "";
    return absl::StrCat("'", text, "' is not possible: expected a number",
                        interval.without_least ? " above " : " from ", interval.least,
                        interval.without_most ? " to below " : " to ", interval.most);
  };
  return CLI::Validator(check, "");
}

}  // namespace recurve::client
