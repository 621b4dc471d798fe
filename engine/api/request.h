// SPDX-License-Identifier: Apache-2.0
// What a client may ask for.
#ifndef RECURVE_ENGINE_API_REQUEST_H_
#define RECURVE_ENGINE_API_REQUEST_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/api/priority.h"
#include "engine/base/steady_time.h"
#include "engine/base/token_id.h"
#include "engine/sampling/params.h"

namespace recurve {

// Bounds of a single request that no flag changes.
inline constexpr uint32_t kMaxStopStrings = 16;
inline constexpr uint32_t kMaxStopStringBytes = 256;
inline constexpr uint32_t kMaxStopTokenIds = 32;  // beside the model's end-of-sequence ids
inline constexpr uint32_t kMaxLogitBiases = 1024;
inline constexpr uint32_t kMaxTopLogprobs = 20;
inline constexpr uint32_t kMaxSamples = 16;
inline constexpr uint32_t kMaxRequestIdBytes = 128;
inline constexpr uint32_t kMaxTenantBytes = 128;

// What the schedule reads of a request as its client gave it.
struct RequestTerms {
  Priority priority = Priority::kNormal;
  // Whose requests take turns with others' of the same priority, and share cached prefixes.
  std::string tenant;
  SamplingParams sampling;        // but for `generated` and `min_end`, which the schedule fills in
  uint32_t generated_prefix = 0;  // trailing prompt ids that an earlier stream had generated
  // New tokens. Unset: what is left of the context, at most AdmissionLimits::default_max_tokens. 0
  // needs prompt_logprobs; the last prompt token then becomes no row.
  std::optional<uint32_t> max_tokens;
  uint32_t min_tokens = 0;  // no stop id before so many generated tokens, generated_prefix included
  std::vector<TokenId> stop_token_ids;  // beside the model's end-of-sequence ids
  bool ignore_eos = false;
  bool prompt_logprobs = false;  // sample 0 alone has them
  // Adaptive depth may lower the cap of tokens that have not been computed as far as this; unset:
  // never.
  std::optional<uint32_t> adaptive_min;
  bool cache_prompt = true;                  // whether the prefix cache may be used for the prompt
  bool cache_generated = false;              // and keep what is generated too
  std::optional<SteadyTime> deadline;        // ends with DeadlineExceeded
  std::optional<SteadyTime> time_limit;      // ends well, with kTimeLimit
  std::optional<SteadyTime> queue_deadline;  // ends with ResourceExhausted unless it runs by then
};

struct Request : RequestTerms {
  std::string id;  // for the log
  // UTF-8 text, or token ids used as they are.
  std::variant<std::string, std::vector<TokenId>> prompt;
  bool add_special_tokens = true;
  uint32_t samples = 1;  // of this prompt, each with a seed and a sink of its own
  std::map<TokenId, float> logit_bias;

  std::vector<std::string> stop_strings;
  bool include_stop_string = false;

  bool logprobs = false;
  uint32_t top_logprobs = 0;        // > 0 implies logprobs
  bool cumulative_logprob = false;  // in Finish
  bool skip_special_tokens = true;
  bool prompt_depths = false;

  std::optional<uint32_t> max_recursions;
  std::optional<float> router_threshold;

  std::optional<std::string> kv_eviction;  // these four as EvictionOptions, which they override
  std::optional<std::string> kv_budget;
  std::optional<uint32_t> kv_sinks;
  std::optional<uint32_t> kv_recent;

  SteadyTime arrival;  // when the front end received it
};

// The seed of a sample: that of sample 0 is the request's own.
uint64_t SampleSeed(uint64_t seed, uint32_t sample);

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_REQUEST_H_
