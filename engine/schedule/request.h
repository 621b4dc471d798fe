// SPDX-License-Identifier: Apache-2.0
// What the schedule is asked to run, and what it tells about it. Token ids only: text, stop strings
// and streams belong to whoever implements RequestObserver.
#ifndef RECURVE_ENGINE_SCHEDULE_REQUEST_H_
#define RECURVE_ENGINE_SCHEDULE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/api/output.h"
#include "engine/api/priority.h"
#include "engine/backend/step.h"
#include "engine/base/steady_time.h"
#include "engine/kv/budget.h"
#include "engine/sampling/params.h"

namespace recurve {

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
  virtual void OnEnded(Ending ending) = 0;
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
