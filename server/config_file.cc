// SPDX-License-Identifier: Apache-2.0
#include "server/config_file.h"

#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kBlanks = " \t";

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// `text` without the comment that ends it: from a '#' on that stands behind a blank.
std::string_view WithoutComment(std::string_view text) {
  for (size_t at = text.find('#'); at != text.npos; at = text.find('#', at + 1)) {
    if (at > 0 && kBlanks.find(text[at - 1]) != kBlanks.npos) return text.substr(0, at);
  }
  return text;
}

// What stands behind the '='. Errors have neither path nor line.
absl::StatusOr<std::string> ParseValue(const std::string& flag, std::string_view text) {
  std::string_view value = Trim(WithoutComment(text));
  if (const std::string_view trimmed = Trim(text);
      !value.empty() && (value[0] == '"' || value[0] == '\'')) {
    const char quote = value[0];
    const size_t end = trimmed.find(quote, 1);
    if (end == trimmed.npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          Quotable(flag), " has a value that begins with ", std::string(1, quote),
          " and does not end with it; around quotes of the value put those of the other kind"));
    }
    if (!Trim(WithoutComment(trimmed.substr(end + 1))).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quotable(flag), " has text behind the closing ", std::string(1, quote),
                       "; around quotes of the value put those of the other kind"));
    }
    value = trimmed.substr(1, end - 1);
  }
  if (value.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quotable(flag), " has no value behind its '='; give one, or leave the line out"));
  }
  return std::string(value);
}

// A line that is neither empty nor a comment; trimmed. Errors have neither path nor line.
absl::StatusOr<ConfigLine> ParseLine(std::string_view line) {
  ConfigLine result;
  if (line.find('\0') != line.npos) {
    return absl::InvalidArgumentError("a NUL byte; the file must be text, in UTF-8");
  }
  if (line[0] == '[') {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", Quotable(line), "' begins a section; lines are flag = value, without sections"));
  }
  const std::string_view head = WithoutComment(line);
  const size_t equals = head.find('=');
  result.flag = std::string(Trim(head.substr(0, equals)));
  if (result.flag.empty()) {
    return absl::InvalidArgumentError("no flag before the '='; lines are flag = value");
  }
  if (equals != head.npos) {
    ASSIGN_OR_RETURN(result.value, ParseValue(result.flag, line.substr(equals + 1)));
  }
  return result;
}

}  // namespace

absl::Status ConfigLineError(const std::string& path, int number, const std::string& reason) {
  return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": ", reason));
}

absl::StatusOr<std::vector<ConfigLine>> ParseConfigFile(const std::string& path,
                                                        std::string_view text) {
  std::vector<ConfigLine> lines;
  std::map<std::string, int> first_lines;
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view raw = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (!raw.empty() && raw.back() == '\r') raw.remove_suffix(1);
    const std::string_view line = Trim(raw);
    if (line.empty() || line[0] == '#') continue;
    absl::StatusOr<ConfigLine> parsed = ParseLine(line);
    if (!parsed.ok()) {
      return ConfigLineError(path, number, std::string(parsed.status().message()));
    }
    parsed->number = number;
    const auto [first, is_new] = first_lines.emplace(parsed->flag, number);
    if (!is_new) {
      return ConfigLineError(
          path, number,
          absl::StrCat(Quotable(parsed->flag), " is given twice, first in line ", first->second));
    }
    lines.push_back(*std::move(parsed));
  }
  return lines;
}

absl::StatusOr<std::vector<ConfigLine>> ReadConfigFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadTextFile(path, kMaxFileBytes);
  if (!text.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", text.status().message()));
  }
  return ParseConfigFile(path, *text);
}

}  // namespace recurve
