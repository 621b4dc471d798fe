// SPDX-License-Identifier: Apache-2.0
#include "client/load/histogram.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/load/report_text.h"

namespace recurve::client {
namespace {

constexpr size_t kMostBars = 10;
constexpr double kLeast = 1e-5;   // seconds: what is shorter is in the first bar
constexpr size_t kBarWidth = 48;  // of the longest bar

}  // namespace

std::vector<Bar> HistogramOf(const std::vector<double>& sorted) {
  std::vector<Bar> bars;
  if (sorted.empty()) return bars;
  const double least = std::max(sorted.front(), kLeast), most = std::max(sorted.back(), kLeast);
  const double factor = std::pow(most / least, 1.0 / static_cast<double>(kMostBars));
  const size_t count = factor > 1 ? kMostBars : 1;
  double from = least;
  for (size_t i = 0; i < count; ++i, from *= factor) bars.push_back({from, from * factor});
  bars.back().to = most;
  size_t bar = 0;
  for (const double value : sorted) {
    while (bar + 1 < count && value >= bars[bar].to) ++bar;
    ++bars[bar].count;
  }
  return bars;
}

std::string HistogramText(const char* name, const std::vector<Bar>& bars) {
  if (bars.empty()) return "";
  size_t most = 0;
  for (const Bar& bar : bars) most = std::max(most, bar.count);
  std::string text = absl::StrCat(name, ", ms\n");
  for (const Bar& bar : bars) {
    const size_t width = (bar.count * kBarWidth + most - 1) / most;
    absl::StrAppendFormat(&text, "%7s - %-7s %7d %s\n", Milliseconds(bar.from),
                          Milliseconds(bar.to), bar.count, std::string(width, '#'));
  }
  return text;
}

}  // namespace recurve::client
