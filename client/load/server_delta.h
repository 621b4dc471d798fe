// SPDX-License-Identifier: Apache-2.0
// What a server itself tells of the time of a load.
#ifndef RECURVE_CLIENT_LOAD_SERVER_DELTA_H_
#define RECURVE_CLIENT_LOAD_SERVER_DELTA_H_

#include <cstdint>
#include <optional>
#include <string>

#include "client/cli/latency.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// The most of what was seen at some moments of a load; nothing if it was too short for one.
struct ServerPeaks {
  void Note(const v1::GetLoadResponse& load);

  uint64_t moments = 0;
  double kv_share = 0;                // of the cache's pages, those in use
  uint32_t running = 0, waiting = 0;  // requests
};

// Of all its clients: others than the load's count too. Percentiles are estimated from histograms.
struct ServerDelta {
  uint64_t prompt_tokens = 0;  // of admitted requests
  uint64_t generated_tokens = 0;
  uint64_t steps = 0;
  uint64_t preemptions = 0;
  uint64_t rows = 0;                          // that steps ran, each position of a request once
  std::optional<double> cached_prompt_share;  // none if nothing was looked up
  Latency ttft, itl, queue;
  ServerPeaks peaks{};

  std::optional<double> rows_per_step() const;  // none without steps
};

// None if the server was started anew in between.
std::optional<ServerDelta> DeltaOf(const v1::GetLoadResponse& before,
                                   const v1::GetLoadResponse& after);

// Some lines: counts, and a row for each latency.
std::string ServerDeltaText(const ServerDelta& delta);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SERVER_DELTA_H_
