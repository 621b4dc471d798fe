// SPDX-License-Identifier: Apache-2.0
// Plots as SVG that stands inside of an HTML page.
#ifndef RECURVE_CLIENT_LOAD_PLOT_H_
#define RECURVE_CLIENT_LOAD_PLOT_H_

#include <string>
#include <utility>
#include <vector>

namespace recurve::client {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // finite, from 0 on; lines in ascending order
  bool is_line = true;                            // else dots
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Series> series;
};

// Both axes begin at 0. Of a series of very many points some stand for all.
std::string Svg(const Plot& plot);

// Safe between tags and in attributes.
std::string EscapeHtml(const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_PLOT_H_
