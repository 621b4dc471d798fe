// SPDX-License-Identifier: Apache-2.0
// What becomes of a request: its tokens, and how it ends.
#ifndef RECURVE_ENGINE_API_OUTPUT_H_
#define RECURVE_ENGINE_API_OUTPUT_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/steady_time.h"
#include "engine/base/token_id.h"

namespace recurve {

struct LogprobEntry {
  TokenId id;
  float logprob;
};

struct PositionLogprobs {
  float logprob = 0.0F;           // of the token that stands there
  std::vector<LogprobEntry> top;  // best first
};

// A token whose text is certain. Owns nothing: a sink keeps what it wants to keep.
struct TokenEvent {
  TokenId id = 0;
  uint32_t depth = 0;                          // recursions of the row it was sampled from
  std::string_view text;                       // its share of the output; may be empty
  const PositionLogprobs* logprobs = nullptr;  // iff asked for
};

enum class EndReason {
  // Well:
  kEndOfSequence,  // sampled one of the model's end-of-sequence ids
  kStopString,     // the text ended with one of the request's stop strings
  kStopToken,      // sampled one of the request's own stop ids
  kLength,         // max_tokens tokens were generated
  kContextLimit,   // prompt and generated tokens fill the context
  kTimeLimit,      // the request's time limit came
  kDrained,        // the engine shuts down
  // With an error:
  kCancelled,     // by the client
  kDeadline,      // the request's deadline came
  kQueueTimeout,  // it was not admitted in time
  kFailed,        // Ending::status says why
};
// Such as "end_of_sequence": for logs and metric labels.
std::string_view EndReasonName(EndReason reason);

// How a request that ends for this reason ends for its client: OK, Cancelled, DeadlineExceeded,
// ResourceExhausted (queue time-out); for kFailed what `failure` says.
absl::Status StatusOf(EndReason reason, const absl::Status& failure);

// Tokens by depth, and the rows that they were computed as. A prompt's rows are its tokens; a
// generated token has the depth of the row it was sampled from, and becomes a row of its own in the
// next step, which the last one never does.
struct DepthCounts {
  std::vector<uint64_t> by_depth;       // [recursions]: tokens of depth i + 1
  std::vector<uint64_t> rows_by_depth;  // [recursions]: rows of depth i + 1, each position once

  static DepthCounts None(uint32_t recursions);
  void AddToken(uint32_t depth) { ++by_depth[depth - 1]; }
  void AddRow(uint32_t depth) { ++rows_by_depth[depth - 1]; }
  double Mean() const;  // block rows over ENTRY rows; 0 without rows
};

// What is known of a request, as far as it has come.
struct SampleStats {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;     // of the prompt, found in the prefix cache when first admitted
  uint32_t generated_tokens = 0;  // those that were told
  DepthCounts prompt_depth, generated_depth;
  uint32_t preemptions = 0;
  uint32_t recomputed_tokens = 0;              // that passed EXIT again after a preemption
  std::chrono::nanoseconds recompute_time{0};  // in a slot, until it was where it had been before
  // Tokens that ran under a cap which adaptive depth had lowered, and the lowest such cap (0:
  // none).
  uint32_t lowered_tokens = 0;
  uint32_t lowest_cap = 0;
  SteadyTime queued;
  std::optional<SteadyTime> admitted;  // first into a slot
  std::optional<SteadyTime> first_token, last_token;
  SteadyTime ended;
  // When it got its slot, or ended without one.
  SteadyTime left_queue() const { return admitted.value_or(ended); }
};

// How a sample ended, as the schedule knows it.
struct Ending : SampleStats {
  EndReason reason = EndReason::kLength;
  absl::Status status;  // StatusOf(reason)
};

// How a sample ended, as its sink hears it: with what its text and its tokens said.
struct Finish : Ending {
  std::optional<std::string> stop_string;     // that matched
  std::optional<TokenId> stop_token_id;       // that was sampled
  std::vector<uint32_t> prompt_token_depths;  // iff asked for
  // Of all generated tokens, under the raw logits; iff asked for.
  std::optional<double> cumulative_logprob;
};

// Receives what happens to the samples of one request, each called by its number. Called, but for
// OnPrepared, by one thread, the engine's loop, which holds no lock; must not block: hand over and
// return. The engine keeps the sink alive until OnFinished of the last sample has returned.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  // Asked by Engine::Start, on its caller's thread, once the prompt is in tokens and before any
  // sample waits: whether the request may go on, of which each sample may generate `new_tokens`.
  // What this refuses Start returns. OK does not mean that the engine accepts it.
  virtual absl::Status OnPrepared(uint32_t /*prompt_tokens*/, uint32_t /*new_tokens*/) {
    return absl::OkStatus();
  }
  // The sample has left the queue for the first time.
  virtual void OnStarted(uint32_t /*sample*/) {}
  // All of the prompt's log probabilities, before the first token; iff asked for and all of the
  // prompt has run, which a time limit or the drain may prevent.
  virtual void OnPromptLogprobs(uint32_t sample, std::vector<PositionLogprobs> logprobs) = 0;
  // Tokens whose text became certain in one step, in order; they and what they point to are valid
  // during the call. `generated_tokens`: of this sample so far, held-back ones included.
  virtual void OnTokens(uint32_t sample, std::span<const TokenEvent> tokens,
                        uint32_t generated_tokens) = 0;
  // Exactly once a sample, last of it, when the engine's counters know of its end.
  virtual void OnFinished(uint32_t sample, Finish finish) = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_OUTPUT_H_
