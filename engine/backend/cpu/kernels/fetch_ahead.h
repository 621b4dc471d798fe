// SPDX-License-Identifier: Apache-2.0
// Weights on their way to the second-level cache while others are multiplied. For the files of
// products alone.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_FETCH_AHEAD_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_FETCH_AHEAD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/kernels/unroll.h"

namespace recurve {

// Asks for memory in as many steps as there are, a part of it in each, from several places at once:
// one stream of addresses gets about two thirds of the memory's bandwidth.
class FetchAhead {
 public:
  FetchAhead() = default;  // nothing
  // `bytes` from `begin` on, which may lie past what is mapped.
  FetchAhead(const std::byte* begin, size_t bytes, uint32_t steps)
      : distance_((bytes + kPlaces - 1) / kPlaces),
        per_step_((distance_ + steps - 1) / steps),
        at_(begin),
        end_(begin + distance_) {}

  void Step() {
    at_ = std::min(at_ + per_step_, end_);
    // Lines that a step begins: what it covers of a line is left to the next.
    for (; next_ < at_; next_ += kLine) {
      const std::byte* line = next_;
      RECURVE_UNROLL
      for (uint32_t place = 0; place < kPlaces; ++place, line += distance_) {
        __builtin_prefetch(line, /*rw=*/0, /*locality=*/2);
      }
    }
  }

 private:
  static constexpr uint32_t kPlaces = 8;
  static constexpr size_t kLine = 64;

  size_t distance_ = 0;  // of places
  size_t per_step_ = 0;  // of each place
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  const std::byte* next_ = at_;  // the line that comes next
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_FETCH_AHEAD_H_
