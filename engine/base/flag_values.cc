// SPDX-License-Identifier: Apache-2.0
#include "engine/base/flag_values.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace recurve {

absl::Status CheckFlagsHaveValues(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") break;
    if (argument.substr(0, 2) != "--" || argument.find('=') != argument.size() - 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(argv[i], " has no value behind its '='; give one, or leave the flag out"));
  }
  return absl::OkStatus();
}

std::optional<uint64_t> ParseWholeNumber(std::string_view text) {
  uint64_t number = 0;
  if (text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  if (!absl::SimpleAtoi({text.data(), text.size()}, &number)) return std::nullopt;
  return number;
}

}  // namespace recurve
