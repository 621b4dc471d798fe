// SPDX-License-Identifier: Apache-2.0
// How a load went over its measured time.
#ifndef RECURVE_CLIENT_LOAD_COURSE_H_
#define RECURVE_CLIENT_LOAD_COURSE_H_

#include <cstdint>
#include <optional>

#include "client/load/run_load.h"

namespace recurve::client {

struct Course {
  // Most tokens, of all requests, of one of the seconds since the window's beginning; none if it is
  // shorter than a second.
  std::optional<uint64_t> peak_tokens;
  uint64_t peak_in_flight = 0;  // requests on their way at once, in the window
  // The median TTFT of measured, completed requests without a fault, of the first and of the last
  // third of them by intended start; none if a third has less than kLeastOfThird.
  std::optional<double> first_ttft, last_ttft;
};
inline constexpr size_t kLeastOfThird = 20;

Course CourseOf(const LoadResult& load);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_COURSE_H_
