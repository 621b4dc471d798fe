// SPDX-License-Identifier: Apache-2.0
// Closed-loop load: a fixed number of concurrent streams, each of which starts its next request
// when its last one has ended.
#ifndef RECURVE_CLIENT_LOAD_CLOSED_LOOP_H_
#define RECURVE_CLIENT_LOAD_CLOSED_LOOP_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"

namespace recurve::client {

// What one request experienced; times in seconds, from sending it.
struct RequestRecord {
  absl::Status status;
  CallReport report;               // how often it was tried, and where it ended
  bool drained = false;            // the server shut down and ended it with part of its text
  uint64_t tokens_seen = 0;        // in messages
  double time_to_first_token = 0;  // the first message with tokens; 0 if none came
  double time_to_last_token = 0;   // the last one
  double end_to_end = 0;
  // For each token after the first message: the time since the message before, divided by the
  // tokens of the message that brought it (tokens come merged when the reader is slower than the
  // engine).
  std::vector<double> inter_token;
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens =
      0;  // of the prompt, from the server's prefix cache; 0 without a last message
  uint64_t generated_tokens = 0;
  double mean_depth = 0;        // of the rows of generated tokens, from the last message
  uint64_t generated_rows = 0;  // 0 without a last message

  void Hear(const v1::GenerateResponse& message, double seconds);
};

struct Load {
  uint32_t streams = 1;
  uint32_t requests = 1;
  std::function<v1::GenerateRequest(uint32_t index)> make_request;
  std::function<void(uint32_t ended)> progress;  // hears of each request that has ended
};

struct LoadResult {
  std::vector<RequestRecord> records;  // of the requests that were sent
  double seconds = 0;  // from the first request's start to the last one's end, or to the stop
  bool stopped = false;
};

// Blocks until all requests have ended. When `stop` asks for it, no further request is sent, and
// those on their way are cancelled: they end with Cancelled, unless they had just ended otherwise.
LoadResult RunClosedLoop(Client& client, const CallOptions& call, const Load& load,
                         const std::stop_token& stop);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_CLOSED_LOOP_H_
