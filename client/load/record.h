// SPDX-License-Identifier: Apache-2.0
// What one request of a load experienced.
#ifndef RECURVE_CLIENT_LOAD_RECORD_H_
#define RECURVE_CLIENT_LOAD_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/load/faults.h"
#include "client/load/target.h"

namespace recurve::client {

inline constexpr char kCompleted[] = "OK";
// Ended with OK, but by the server's shutdown, amid the text.
inline constexpr char kDrained[] = "DRAINED";

// How much of a request's tokens its server told.
enum class TokenCounts {
  kOfMessages,  // how many each message brought
  kOfRequest,   // how many it was in all: spread evenly over the messages
  kNone,        // nothing: each message with text counts as one token
};

// Times are in seconds from the load's beginning.
struct RequestRecord {
  struct TokenMessage {
    double at = 0;
    uint32_t tokens = 0;  // at least one
  };

  uint64_t index = 0;  // in the order of intended starts
  bool is_measured = true;
  double intended = 0;  // when it was to start
  double sent = 0;      // when it did
  double ended = 0;
  std::vector<TokenMessage> messages;  // with tokens, in order
  absl::Status status;
  CallReport report;            // how often it was tried, and where it ended
  uint32_t pushbacks = 0;       // refusals that said after what time to come again
  double pushback_seconds = 0;  // what they said, together
  Fault::Kind fault = Fault::Kind::kNone;
  bool cut_short = false;  // cancelled because the whole load was stopped
  bool drained = false;    // the server shut down and ended it with part of its text
  uint64_t prompt_tokens = 0;
  TokenCounts token_counts = TokenCounts::kOfMessages;
  // Of the prompt, from the server's prefix cache; 0 without a last message.
  uint64_t cached_tokens = 0;
  uint64_t generated_tokens = 0;
  double mean_depth = 0;        // of the rows of generated tokens, from the last message
  uint64_t generated_rows = 0;  // 0 without a last message

  void Hear(const Heard& message, double now);
  // After the last message of a try.
  void End(const absl::Status& with, double now);

  // kCompleted, kDrained, or the name of the status' code.
  std::string outcome() const;
  bool completed() const { return status.ok() && !drained; }

  // Each is as DefinitionsText says.
  double client_queue() const { return sent - intended; }
  double end_to_end() const { return ended - intended; }
  std::optional<double> time_to_first_token() const;
  std::optional<double> time_per_output_token() const;
  std::vector<double> inter_token_latencies() const;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_RECORD_H_
