// SPDX-License-Identifier: Apache-2.0
// Which request of a load starts when, and which of them are measured.
#ifndef RECURVE_CLIENT_LOAD_PACING_H_
#define RECURVE_CLIENT_LOAD_PACING_H_

#include <cstdint>
#include <optional>

#include "client/load/extent.h"
#include "client/load/schedule.h"

namespace recurve::client {

struct LoadShape {
  // Of an open loop. None is a closed loop: each of `max_in_flight` streams starts its next request
  // when its last one has ended.
  std::optional<Schedule> schedule;
  uint32_t max_in_flight = 1;  // requests that are due wait while so many are on their way
  Extent warmup = {.requests = 0};
  Extent measured = {.requests = 1};
};

// Knows neither clock nor server: it is told the time, in seconds from the load's beginning, which
// never falls. Thread-compatible.
//
// The load is one: the warm-up runs into the measured part without a pause, so that this begins
// under the load that it goes on with. A part of a time takes in the requests whose intended start
// lies in it, whenever they are sent.
class Pacing {
 public:
  struct Start {
    uint64_t index = 0;
    double intended = 0;
    bool is_measured = true;
  };

  explicit Pacing(const LoadShape& shape);

  // The request that starts now, which is then on its way; call again for a further one.
  std::optional<Start> Take(double now);
  void Ended() { --in_flight_; }  // of a request that was on its way

  // Without a request to start now: when there is one, if none ends before. None: when one ends.
  std::optional<double> next_start() const;
  // Whether a further request may start, now or later.
  bool has_next() const { return next_.has_value(); }
  // Nothing starts any more, and nothing is on its way.
  bool is_over() const { return !next_ && in_flight_ == 0; }
  // Nothing starts any more.
  void Stop() { next_.reset(); }

  // The measured part's beginning; none before it is known.
  std::optional<double> measured_from() const { return measured_from_; }
  // Its end, if it is one of a time.
  std::optional<double> measured_until() const;

 private:
  bool is_open() const { return shape_.schedule.has_value(); }
  void Prepare();  // the next request, if there is one
  bool Belongs(Start& start);

  LoadShape shape_;
  std::optional<Start> next_;  // none: there is none any more; a closed loop's has no time yet
  std::optional<double> measured_from_;
  uint64_t made_ = 0;
  uint64_t measured_ = 0;
  uint32_t in_flight_ = 0;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_PACING_H_
