// SPDX-License-Identifier: Apache-2.0
#include "client/load/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace recurve::client {
namespace {

constexpr double kWidth = 640, kHeight = 260;  // of the picture
constexpr double kLeft = 70, kRight = 10, kTop = 30, kBottom = 45;
constexpr size_t kMostPoints = 2000;  // of a series
constexpr std::array kColors = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd"};

// Values on an axis, and where they lie on the picture.
struct Axis {
  double most;        // a multiple of `step`
  double step;        // between two marks
  double begin, end;  // on the picture

  double Place(double value) const { return begin + (end - begin) * value / most; }
  int marks() const { return static_cast<int>(std::lround(most / step)) + 1; }
};

// With marks at 1, 2 or 5 times a power of ten, some five of them.
Axis AxisFor(double most, double begin, double end) {
  if (!(most > 0)) most = 1;
  const double power = std::pow(10, std::floor(std::log10(most / 4)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = factor * power;
    if (most / step <= 5) break;
  }
  return {std::ceil(most / step) * step, step, begin, end};
}

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                         EscapeHtml(text));
}

std::string Line(double x1, double y1, double x2, double y2) {
  return absl::StrFormat(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", x1, y1, x2, y2);
}

std::string Drawn(const Series& series, const char* color, const Axis& x, const Axis& y) {
  const size_t stride = series.points.size() / kMostPoints + 1;
  std::string places, dots;
  for (size_t i = 0; i < series.points.size(); i += stride) {
    const double at_x = x.Place(series.points[i].first), at_y = y.Place(series.points[i].second);
    if (series.is_line) {
      absl::StrAppendFormat(&places, "%.1f,%.1f ", at_x, at_y);
    } else {
      absl::StrAppendFormat(&dots, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\" fill=\"%s\"/>\n", at_x,
                            at_y, color);
    }
  }
  if (!series.is_line) return dots;
  return absl::StrFormat("<polyline points=\"%s\" fill=\"none\" stroke=\"%s\"/>\n", places, color);
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Svg(const Plot& plot) {
  double most_x = 0, most_y = 0;
  for (const Series& series : plot.series) {
    for (const auto& [x, y] : series.points) {
      most_x = std::max(most_x, x);
      most_y = std::max(most_y, y);
    }
  }
  const Axis x = AxisFor(most_x, kLeft, kWidth - kRight);
  const Axis y = AxisFor(most_y, kHeight - kBottom, kTop);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\">\n", kWidth, kHeight);
  for (int i = 0; i < x.marks(); ++i) {
    const double value = i * x.step;
    absl::StrAppend(&svg, Line(x.Place(value), y.begin, x.Place(value), y.end),
                    Text(x.Place(value), y.begin + 15, "middle", absl::StrFormat("%g", value)));
  }
  for (int i = 0; i < y.marks(); ++i) {
    const double value = i * y.step;
    absl::StrAppend(&svg, Line(x.begin, y.Place(value), x.end, y.Place(value)),
                    Text(x.begin - 5, y.Place(value) + 4, "end", absl::StrFormat("%g", value)));
  }
  absl::StrAppend(&svg, Text(kLeft, 15, "start", absl::StrCat(plot.title, ", ", plot.y_label)),
                  Text(x.end, kHeight - 8, "end", plot.x_label));
  double legend = kLeft;
  for (size_t i = 0; i < plot.series.size(); ++i) {
    const Series& series = plot.series[i];
    const char* const color = kColors.at(i % kColors.size());
    absl::StrAppend(&svg, Drawn(series, color, x, y));
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>\n", legend,
                          kHeight - 8, color, EscapeHtml(series.name));
    legend += 80;
  }
  return absl::StrCat(svg, "</svg>\n");
}

}  // namespace recurve::client
