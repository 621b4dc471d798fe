// SPDX-License-Identifier: Apache-2.0
// What the schedule is asked to run, and what it tells about it. Token ids only: text, stop strings
// and streams belong to whoever implements RequestObserver.
#ifndef RECURVE_ENGINE_SCHEDULE_REQUEST_H_
#define RECURVE_ENGINE_SCHEDULE_REQUEST_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/api/priority.h"
#include "engine/backend/step.h"
#include "engine/base/steady_time.h"
#include "engine/kv/budget.h"
#include "engine/sampling/params.h"

namespace recurve {

enum class EndReason {
  kEndOfSequence,  // sampled one of the model's end-of-sequence ids
  kStopToken,      // sampled one of the request's own stop ids
  kStopString,     // the observer said so
  kLength,         // max_tokens tokens were generated
  kContextLimit,   // prompt and generated tokens fill the context
  kTimeLimit,      // the request's time limit came
  kDrained,        // the engine shuts down
  kCancelled,      // Cancel
  kDeadline,       // the request's deadline came
  kQueueTimeout,   // it was not admitted in time
  kFailed,         // Ending::status says why
};
std::string_view EndReasonName(EndReason reason);  // such as "end_of_sequence"

// Everything known of a request when it ends.
struct Ending {
  EndReason reason = EndReason::kLength;
  absl::Status status;  // an error iff the reason is kFailed
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;     // of the prompt, found in the prefix cache when first admitted
  uint32_t generated_tokens = 0;  // those the observer was told of
  // Rows that passed EXIT, here or for a cached prefix, by the recursions they ran (index 0 stays
  // empty), each position once:
  // of the prompt's tokens and of generated ones. The mean is block rows over ENTRY rows. The last
  // generated token never becomes a row, so there is one row less than tokens.
  std::array<uint32_t, kMaxGroups> prompt_rows_by_depth{};
  std::array<uint32_t, kMaxGroups> generated_rows_by_depth{};
  // Rows, of those above, that ran under a cap lower than the request's own, and the lowest such
  // cap.
  uint32_t lowered_rows = 0;
  uint32_t lowest_cap = 0;  // 0: there is none
  uint32_t preemptions = 0;
  uint32_t recomputed_rows = 0;                // rows that passed EXIT again after a preemption
  std::chrono::nanoseconds recompute_time{0};  // in a slot, until it was where it had been before
  SteadyTime queued;
  std::optional<SteadyTime> admitted;  // first into a slot
  std::optional<SteadyTime> first_token;
  std::optional<SteadyTime> last_token;
  SteadyTime ended;
};

// Consecutive prompt tokens that passed EXIT, or were found in the prefix cache.
struct PromptOutput {
  uint32_t position;                 // of the first one
  std::span<const uint32_t> depths;  // recursions of each
  // Of the tokens at position + 1 .. position + depths.size() that belong to the prompt; empty
  // unless the request wants prompt log probabilities. For each position the token that stands
  // there first, then the most likely ones.
  std::span<const TokenLogprob> logprobs;
};

struct TokenOutput {
  uint32_t token;
  uint32_t position;                       // where it stands: prompt tokens first, counted from 0
  uint32_t depth;                          // recursions of the row it was sampled from
  bool stop_id;                            // one of the stop or end-of-sequence ids: the last token
  std::span<const TokenLogprob> logprobs;  // itself first; empty unless wanted
};

// Hears of one request. Called inside Schedule's methods, so it must neither block nor call the
// schedule. Spans are valid during the call. Nothing is told twice, whatever is recomputed.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;

  // The request has left the queue for the first time.
  virtual void OnStarted() {}

  // In position order, all of the prompt before the first token.
  virtual void OnPrompt(const PromptOutput& /*prompt*/) {}

  // In position order. True: the text ends here, because a stop string matched.
  virtual bool OnToken(const TokenOutput& token) = 0;

  // Raw logits of a row, which speak of position + 1; only with ScheduledRequest::raw_logits. Rows
  // that are recomputed are told again. For tests.
  virtual void OnLogits(uint32_t /*position*/, std::span<const float> /*logits*/) {}

  // Exactly once, last. The observer may be destroyed in it.
  virtual void OnEnded(const Ending& ending) = 0;
};

struct ScheduledRequest {
  uint64_t id = 0;  // unique among the requests that have not ended
  Priority priority = Priority::kNormal;
  std::string tenant;             // takes turns with the others of its priority
  std::vector<uint32_t> prompt;   // token ids
  uint32_t generated_prefix = 0;  // trailing prompt ids that count as generated
  // New tokens. Unset: what is left of the context, at most ScheduleOptions::default_max_tokens. 0
  // needs prompt_logprobs; the last prompt token then becomes no row.
  std::optional<uint32_t> max_tokens;
  uint32_t min_tokens = 0;  // no stop id before so many generated tokens, generated_prefix included
  SamplingParams sampling;  // `generated` and `min_end` are filled in by the schedule
  float threshold_logit = 0.0F;  // Admission::threshold_logit
  std::vector<DepthCap> caps;    // ascending positions; none: N recursions
  // The caps of tokens that have not been computed may be lowered, but not below this. Unset:
  // never.
  std::optional<uint32_t> adaptive_min;
  KvBudget budget;
  std::optional<uint32_t> logprobs;  // most likely tokens told with each sampled one
  bool prompt_logprobs = false;      // needs `logprobs`
  bool raw_logits = false;           // tests alone
  bool ignore_eos = false;
  // Whether its prompt may be found among cached prefixes, and becomes one; with cache_generated
  // what it generates does too.
  bool cache_prompt = true;
  bool cache_generated = false;
  // With prompt_logprobs it finds nothing, because cached tokens have no logits, and its prompt
  // becomes a cached prefix only if this is set: others want to share it.
  bool store_prompt = false;
  std::vector<TokenBias> biases;
  std::vector<uint32_t> stop_ids;            // beside the model's end-of-sequence ids
  std::optional<SteadyTime> deadline;        // ends with kDeadline, queued or running
  std::optional<SteadyTime> time_limit;      // ends with kTimeLimit, queued or running
  std::optional<SteadyTime> queue_deadline;  // ends with kQueueTimeout unless admitted before
  RequestObserver* observer = nullptr;       // lives until OnEnded returns
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_REQUEST_H_
