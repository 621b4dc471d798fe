// SPDX-License-Identifier: Apache-2.0
#include "client/load/schedule.h"

#include <utility>

namespace recurve::client {

Schedule Schedule::Constant(double rate) {
  Schedule schedule;
  schedule.gap_ = 1 / rate;
  return schedule;
}

Schedule Schedule::Gamma(double rate, double burstiness, uint64_t seed) {
  Schedule schedule;
  schedule.gaps_.emplace(burstiness, 1 / (rate * burstiness));
  schedule.random_.emplace(seed);
  return schedule;
}

Schedule Schedule::Trace(std::vector<double> starts) {
  Schedule schedule;
  schedule.starts_ = std::move(starts);
  return schedule;
}

std::optional<double> Schedule::Next() {
  const size_t index = made_++;
  if (starts_) {
    if (index >= starts_->size()) return std::nullopt;
    return (*starts_)[index];
  }
  // Not a sum of gaps where they are constant: its error would grow with the load.
  if (!gaps_) return static_cast<double>(index) * gap_;
  return last_ += (*gaps_)(*random_);
}

}  // namespace recurve::client
