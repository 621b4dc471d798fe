// SPDX-License-Identifier: Apache-2.0
// What the schedule is asked to run, and what it tells about it. Token ids only: text, stop strings
// and streams belong to whoever implements SampleObserver.
#ifndef RECURVE_ENGINE_SCHEDULE_SAMPLE_H_
#define RECURVE_ENGINE_SCHEDULE_SAMPLE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/api/output.h"
#include "engine/api/request.h"
#include "engine/backend/step.h"
#include "engine/base/token_id.h"
#include "engine/kv/budget.h"
#include "engine/sampling/params.h"

namespace recurve {

// Consecutive prompt tokens that passed EXIT, or were found in the prefix cache.
struct PromptOutput {
  uint32_t position;                 // of the first one
  std::span<const uint32_t> depths;  // recursions of each
  // Of the tokens at position + 1 .. position + depths.size() that belong to the prompt; empty
  // unless the sample wants prompt log probabilities. For each position the token that stands
  // there first, then the most likely ones.
  std::span<const TokenLogprob> logprobs;
};

struct TokenOutput {
  TokenId token;
  uint32_t position;                       // where it stands: prompt tokens first, counted from 0
  uint32_t depth;                          // recursions of the row it was sampled from
  bool stop_id;                            // one of the stop or end-of-sequence ids: the last token
  std::span<const TokenLogprob> logprobs;  // itself first; empty unless wanted
};

// Hears of one sample. Called inside Schedule's methods, so it must neither block nor call the
// schedule. Spans are valid during the call. Nothing is told twice, whatever is recomputed.
class SampleObserver {
 public:
  virtual ~SampleObserver() = default;

  // The sample has left the queue for the first time.
  virtual void OnStarted() {}

  // In position order, all of the prompt before the first token.
  virtual void OnPrompt(const PromptOutput& /*prompt*/) {}

  // In position order. True: the text ends here, because a stop string matched.
  virtual bool OnToken(const TokenOutput& token) = 0;

  // Raw logits of a row, which speak of position + 1; only with ScheduledSample::raw_logits. Rows
  // that are recomputed are told again. For tests.
  virtual void OnLogits(uint32_t /*position*/, std::span<const float> /*logits*/) {}

  // Exactly once, last. The observer may be destroyed in it.
  virtual void OnEnded(Ending ending) = 0;
};

// One of the samples of a client's request.
struct ScheduledSample : RequestTerms {
  uint64_t id = 0;  // unique among the samples that have not ended
  std::vector<TokenId> prompt;
  float threshold_logit = 0.0F;  // Admission::threshold_logit
  std::vector<DepthCap> caps;    // ascending positions; none: N recursions
  KvBudget budget;
  std::optional<uint32_t> logprobs;  // most likely tokens told with each sampled one; must be there
                                     // for prompt_logprobs
  bool raw_logits = false;           // tests alone
  // With prompt_logprobs it finds nothing, because cached tokens have no logits, and its prompt
  // becomes a cached prefix only if this is set: others want to share it.
  bool store_prompt = false;
  std::vector<TokenBias> biases;
  SampleObserver* observer = nullptr;  // lives until OnEnded returns
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_SAMPLE_H_
