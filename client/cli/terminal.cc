// SPDX-License-Identifier: Apache-2.0
#include "client/cli/terminal.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace recurve::client {
namespace {

// 256-colour codes that read on dark and light backgrounds, shallow to deep.
constexpr std::array<int, 5> kDepthColors = {34, 178, 208, 196, 129};

std::string Color(uint32_t depth) {
  const size_t index = std::min<size_t>(depth == 0 ? 0 : depth - 1, kDepthColors.size() - 1);
  return absl::StrCat("\x1b[38;5;", kDepthColors[index], "m");
}

std::string SubscriptDigits(uint32_t depth) {
  std::string digits = absl::StrCat(depth);
  std::string subscript;
  for (const char digit : digits) {  // U+2080 to U+2089
    subscript += "\xe2\x82";
    subscript += static_cast<char>(0x80 + (digit - '0'));
  }
  return subscript;
}

}  // namespace

bool TakesEscapes(bool is_terminal) {
  const char* term = std::getenv("TERM");
  return is_terminal && term != nullptr && std::string_view(term) != "dumb";
}

DepthMarks ChooseDepthMarks(std::string_view mode, bool is_terminal) {
  if (mode == "color") return DepthMarks::kColors;
  if (mode == "subscript") return DepthMarks::kSubscript;
  if (mode == "none" || !is_terminal) return DepthMarks::kNone;
  const char* no_color = std::getenv("NO_COLOR");
  const bool colors = TakesEscapes(is_terminal) && (no_color == nullptr || *no_color == '\0');
  return colors ? DepthMarks::kColors : DepthMarks::kSubscript;
}

std::string Printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    const bool c1_control =
        c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
      result += "\xe2\x90";  // the control pictures block, U+2400 to U+241F and U+2421
      result += static_cast<char>(c == 0x7F ? 0xA1 : 0x80 + c);
    } else if (c1_control) {
      result += "\xef\xbf\xbd";
      ++i;
    } else {
      result += static_cast<char>(c);
    }
  }
  return result;
}

std::string MarkDepth(DepthMarks marks, std::string_view text, uint32_t depth) {
  std::string printable = Printable(text);
  switch (marks) {
    case DepthMarks::kNone:
      return printable;
    case DepthMarks::kColors:
      return printable.empty() ? "" : absl::StrCat(Color(depth), printable, "\x1b[0m");
    case DepthMarks::kSubscript: {
      // Before trailing newlines, so that the mark stays with its token's line.
      const size_t end = printable.find_last_not_of('\n') + 1;
      return absl::StrCat(printable.substr(0, end), SubscriptDigits(depth), printable.substr(end));
    }
  }
  return printable;
}

std::string DepthLegend(DepthMarks marks, uint32_t max_depth) {
  std::string legend = "depth";
  for (uint32_t depth = 1; depth <= max_depth; ++depth) {
    absl::StrAppend(&legend, " ",
                    marks == DepthMarks::kColors ? MarkDepth(marks, absl::StrCat(depth), depth)
                                                 : absl::StrCat(depth));
  }
  return legend;
}

}  // namespace recurve::client
