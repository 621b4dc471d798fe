// SPDX-License-Identifier: Apache-2.0
#include "client/load/pacing.h"

namespace recurve::client {

Pacing::Pacing(const LoadShape& shape) : shape_(shape) {
  if (shape.warmup.seconds) measured_from_ = shape.warmup.seconds;
  Prepare();
}

void Pacing::Prepare() {
  next_.reset();
  if (shape_.measured.requests && measured_ >= *shape_.measured.requests) return;
  Start start = {.index = made_};
  if (is_open()) {
    const std::optional<double> intended = shape_.schedule->Next();
    if (!intended) return;
    start.intended = *intended;
    if (!Belongs(start)) return;
  }
  next_ = start;
}

// Whether it is part of the load, now that its intended start is known; and of which part.
bool Pacing::Belongs(Start& start) {
  start.is_measured = shape_.warmup.requests ? start.index >= *shape_.warmup.requests
                                             : start.intended >= *shape_.warmup.seconds;
  if (!start.is_measured) return true;
  if (!measured_from_) measured_from_ = start.intended;
  const std::optional<double> until = measured_until();
  return !until || start.intended < *until;
}

std::optional<Pacing::Start> Pacing::Take(double now) {
  if (!next_ || in_flight_ >= shape_.max_in_flight) return std::nullopt;
  if (!is_open()) {
    next_->intended = now;
    if (!Belongs(*next_)) next_.reset();
  }
  if (!next_ || next_->intended > now) return std::nullopt;
  const Start start = *next_;
  ++made_;
  ++in_flight_;
  if (start.is_measured) ++measured_;
  Prepare();
  return start;
}

std::optional<double> Pacing::next_start() const {
  if (!next_ || !is_open() || in_flight_ >= shape_.max_in_flight) return std::nullopt;
  return next_->intended;
}

std::optional<double> Pacing::measured_until() const {
  if (!shape_.measured.seconds || !measured_from_) return std::nullopt;
  return *measured_from_ + *shape_.measured.seconds;
}

}  // namespace recurve::client
