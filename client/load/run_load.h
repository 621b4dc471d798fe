// SPDX-License-Identifier: Apache-2.0
// Sends the requests of a load, and records what they experience.
#ifndef RECURVE_CLIENT_LOAD_RUN_LOAD_H_
#define RECURVE_CLIENT_LOAD_RUN_LOAD_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "client/load/faults.h"
#include "client/load/pacing.h"
#include "client/load/record.h"
#include "client/load/target.h"

namespace recurve::client {

struct LoadProgress {
  double seconds = 0;  // since the load's beginning
  uint64_t sent = 0;
  uint64_t ended = 0;
};

struct Load {
  LoadShape shape;
  // In ascending order, once each; a load's thread calls it before the request is due.
  std::function<v1::GenerateRequest(uint64_t index)> make_request;
  // What the request does; null: nothing but what it should.
  std::function<Fault(uint64_t index, const v1::GenerateRequest& request)> fault_of;
  // Of a request that a full server refused, if the target does not try again by itself; 1: none.
  int attempts = 1;
  std::function<void(const LoadProgress&)> progress;  // hears of each request that has ended
};

struct LoadResult {
  std::vector<RequestRecord> records;  // of the requests that were sent, warm-up included
  // The measured part: from its beginning to the end of its time, or of its last request, or to
  // the stop. Both are the same if it never began.
  double window_begin = 0, window_end = 0;
  bool stopped = false;
  // From the beginning to the end of the last request: time, and what of it processors of this
  // process were busy.
  double seconds = 0, cpu_seconds = 0;
};

// Blocks until all requests have ended. When `stop` asks for it, no further request is sent, and
// those on their way are cancelled: they end with Cancelled, unless they had just ended otherwise.
//
// One thread, the caller's, sends all requests; what comes back is recorded on the target's. So a
// request waits for no other one, but for the time that sending those before it takes.
LoadResult RunLoad(Target& target, const CallOptions& call, const Load& load,
                   const std::stop_token& stop);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_RUN_LOAD_H_
