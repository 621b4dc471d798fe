// SPDX-License-Identifier: Apache-2.0
#include "client/cli/figures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/terminal.h"

namespace recurve::client {
namespace {

constexpr std::array<const char*, 7> kUnits = {"", "k", "M", "G", "T", "P", "E"};

// Three digits of a value below 999.5. The bounds are where rounding adds a digit.
std::string ThreeDigits(double value) {
  if (value < 9.995) return absl::StrFormat("%.2f", value);
  if (value < 99.95) return absl::StrFormat("%.1f", value);
  return absl::StrFormat("%.0f", value);
}

// Columns of the character that begins with this byte of UTF-8; 0 inside of a character. Wide
// scripts lie from U+1000 on; what is narrow there only leaves room.
size_t Columns(char byte) {
  const auto lead = static_cast<unsigned char>(byte);
  if (lead >= 0x80 && lead < 0xC0) return 0;
  return lead > 0xE0 ? 2 : 1;
}

}  // namespace

std::string ShortNumber(double value) {
  if (std::isnan(value)) return "-";
  if (value < 0.005) return "0";
  for (const char* unit : kUnits) {
    if (value < 999.5) return absl::StrCat(ThreeDigits(value), unit);
    value /= 1000;
  }
  return absl::StrCat(">999", kUnits.back());
}

std::string ShortCount(double count) {
  return count < 99999.5 ? absl::StrFormat("%.0f", count) : ShortNumber(count);
}

std::string ShortLatency(double seconds) {
  if (std::isnan(seconds)) return "-";
  if (seconds < 0.9995) return absl::StrCat(ThreeDigits(std::max(seconds, 0.0) * 1e3), " ms");
  return absl::StrCat(ShortNumber(seconds), " s");
}

std::string ShortAge(double seconds) {
  constexpr int64_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;
  // A server may say anything; what is not in range has no value as an integer.
  const auto whole = seconds > 0 ? static_cast<int64_t>(std::min(seconds, 1e11)) : 0;
  if (whole < kMinute) return absl::StrCat(whole, " s");
  if (whole < kHour) return absl::StrCat(whole / kMinute, " min ", whole % kMinute, " s");
  if (whole < kDay) return absl::StrCat(whole / kHour, " h ", whole % kHour / kMinute, " min");
  return absl::StrCat(whole / kDay, " d ", whole % kDay / kHour, " h");
}

std::string Bar(double share, size_t width) {
  size_t filled = 0;
  if (share > 0) {  // not if it is not a number
    const double exact = std::min(share, 1.0) * static_cast<double>(width);
    filled = std::max<size_t>(static_cast<size_t>(std::lround(exact)), 1);
  }
  return absl::StrCat("[", std::string(filled, '#'), std::string(width - filled, '.'), "]");
}

std::string FitLine(std::string_view text, size_t columns) {
  std::string line = Printable(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::replace(line.begin(), line.end(), '\t', ' ');
  constexpr std::string_view kCut = "...";
  const size_t kept = columns - std::min(columns, kCut.size());  // beside the dots
  size_t used = 0;
  size_t cut_at = 0;  // where the dots go
  for (size_t at = 0; at < line.size(); ++at) {
    used += Columns(line[at]);
    if (used > columns) return line.substr(0, cut_at).append(kCut.substr(0, columns));
    if (used <= kept) cut_at = at + 1;
  }
  return line;
}

}  // namespace recurve::client
