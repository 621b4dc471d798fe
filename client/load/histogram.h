// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_HISTOGRAM_H_
#define RECURVE_CLIENT_LOAD_HISTOGRAM_H_

#include <cstddef>
#include <string>
#include <vector>

namespace recurve::client {

struct Bar {
  double from = 0, to = 0;  // seconds, without `to` but in the last bar
  size_t count = 0;
};

// At most ten bars, each as many times as wide as the one before; of values all alike one. Values
// are in ascending order, from 0 on; without any there are no bars.
std::vector<Bar> HistogramOf(const std::vector<double>& sorted);

// A line for each bar, in milliseconds; empty without bars.
std::string HistogramText(const char* name, const std::vector<Bar>& bars);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_HISTOGRAM_H_
