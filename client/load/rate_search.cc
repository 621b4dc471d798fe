// SPDX-License-Identifier: Apache-2.0
#include "client/load/rate_search.h"

#include <cmath>

namespace recurve::client {

void RateSearch::Tell(bool met) {
  (met ? met_ : missed_) = next_;
  next_ = Choose();
}

std::optional<double> RateSearch::Choose() const {
  std::optional<double> rate;
  if (!missed_) {
    rate = *met_ * 2;
  } else if (!met_) {
    rate = *missed_ / 2;
  } else if (*missed_ > *met_ * kPrecision) {
    return std::sqrt(*met_ * *missed_);
  }
  if (rate && (*rate > first_ * kReach || *rate < first_ / kReach)) return std::nullopt;
  return rate;
}

}  // namespace recurve::client
