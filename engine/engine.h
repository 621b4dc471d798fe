// SPDX-License-Identifier: Apache-2.0
// The engine: tokens for requests. All that server/ includes of engine/, with the plain request and
// event types. Owns the model, the tokenizer, the backend, the schedule and the thread of the step
// loop.
#ifndef RECURVE_ENGINE_ENGINE_H_
#define RECURVE_ENGINE_ENGINE_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/priority.h"
#include "engine/base/steady_time.h"

namespace recurve {

// ---- Options: one struct a concern; a field's comment is its flag's help. ----

struct ModelOptions {
  std::string directory;        // model directory: config.json, *.safetensors, tokenizer.json
  std::string name;             // name reported to clients; default: the directory's last component
  std::string backend = "cpu";  // cpu
  std::string precision = "bf16";  // of weights, products and KV: f32 or bf16
  // Of the CPU backend; 0 (auto): those that affinity and the cgroup's CPU quota allow.
  uint32_t threads = 0;
  bool force_scalar = false;  // plain C++ kernels instead of AVX2: slow, same bits, for checking

  bool operator==(const ModelOptions&) const = default;
};

struct ScheduleLimits {
  std::string policy = "depthwise";  // when EXIT and ENTRY run: depthwise (every step) or lockstep
                                     // (only when no row waits for the block)
  uint32_t slots = 32;               // sequences in flight
  uint32_t areas = 4;                // prompts in progress at once
  uint32_t chunk = 256;              // most prompt rows of one sequence in a step
  uint32_t ends = 0;        // most generated rows in ENTRY and EXIT of a step; 0: as many as slots
  uint32_t block_rows = 0;  // most generated rows in the block of a step; 0: as many as slots
  uint32_t prompt_rows = 256;           // most prompt rows in each stage of a step; at least chunk
  uint32_t max_queued_requests = 256;   // waiting for a slot; more are refused
  uint64_t max_queued_tokens = 262144;  // prompt tokens waiting for a slot; more are refused; if
                                        // less than the context, the context
  uint32_t admission_headroom = 64;     // tokens for which admission leaves pages to each sequence
  uint32_t max_preemptions = 3;         // of a request; then it has pages for all of it, and stays
  uint32_t default_max_tokens = 1024;   // new tokens of a request that does not say
  // While requests wait longer than the goal, new tokens of those that allow it run fewer
  // recursions.
  bool adaptive_depth = false;
  std::chrono::milliseconds queue_time_goal{500};
  uint32_t queue_depth = 0;  // steps queued behind the running one: 0 (the CPU backend computes
                             // when a step is submitted) or 1

  bool operator==(const ScheduleLimits&) const = default;
};

struct MemoryOptions {
  uint32_t kv_pages = 0;  // in the pool of cache pages; 0 (auto): what slots at full context need,
                          // at most kv_memory_share of the memory that is free
  // Of the free memory (the cgroup's limit honoured) that kv_pages=auto may take.
  double kv_memory_share = 0.5;
  uint32_t max_context = 0;  // prompt and new tokens of a request; 0: the model's
  bool prefix_cache = true;  // whether prompts that begin alike are computed once

  bool operator==(const MemoryOptions&) const = default;
};

// What sequences may keep in the cache. A request may say otherwise, but for `every`.
struct EvictionOptions {
  std::string policy = "none";  // which entries go: none, window (the oldest), attention (those
                                // that got least of it), router (those whose router was least sure)
  std::string budget;           // entries that each cache group may hold, such as
                                // "entry:256,1:256,2:50%,3:50%,exit:256"; groups left out are free
  uint32_t sinks = 4;           // first entries of a group, which stay
  uint32_t recent = 32;         // last entries of a group, which stay
  uint32_t every = 256;         // entries go at positions that are multiples of this

  bool operator==(const EvictionOptions&) const = default;
};

struct EngineOptions {
  ModelOptions model;
  ScheduleLimits schedule;
  MemoryOptions memory;
  EvictionOptions eviction;

  bool operator==(const EngineOptions&) const = default;
};

// Bounds of a single request that no flag changes.
inline constexpr uint32_t kMaxStopStrings = 16;
inline constexpr uint32_t kMaxStopStringBytes = 256;
inline constexpr uint32_t kMaxStopTokenIds = 32;  // beside the model's end-of-sequence ids
inline constexpr uint32_t kMaxLogitBiases = 1024;
inline constexpr uint32_t kMaxTopLogprobs = 20;
inline constexpr uint32_t kMaxSamples = 16;

// ---- Request ----

struct Request {
  std::string id;  // for the log
  // UTF-8 text, or token ids used as they are.
  std::variant<std::string, std::vector<uint32_t>> prompt;
  bool add_special_tokens = true;
  uint32_t generated_prefix = 0;  // trailing prompt ids that an earlier stream had generated

  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::map<uint32_t, float> logit_bias;
  float temperature = 0.0F;
  uint32_t top_k = 0;
  float top_p = 1.0F;
  float min_p = 0.0F;
  uint64_t seed = 0;
  uint32_t samples = 1;  // of this prompt, each with a seed and a sink of its own

  std::optional<uint32_t> max_tokens;
  uint32_t min_tokens = 0;
  std::vector<std::string> stop_strings;
  std::vector<uint32_t> stop_token_ids;
  bool include_stop_string = false;
  bool ignore_eos = false;

  bool logprobs = false;
  uint32_t top_logprobs = 0;        // > 0 implies logprobs
  bool prompt_logprobs = false;     // sample 0 alone has them
  bool cumulative_logprob = false;  // in Finish
  bool skip_special_tokens = true;
  bool prompt_depths = false;

  std::optional<uint32_t> max_recursions;
  std::optional<float> router_threshold;
  // Adaptive depth may lower the cap of tokens that have not been computed as far as this; unset:
  // never.
  std::optional<uint32_t> adaptive_min;

  std::optional<std::string> kv_eviction;  // these four as EvictionOptions, which they override
  std::optional<std::string> kv_budget;
  std::optional<uint32_t> kv_sinks;
  std::optional<uint32_t> kv_recent;

  bool cache_prompt = true;      // whether the prefix cache may be used for the prompt
  bool cache_generated = false;  // and keep what is generated too

  Priority priority = Priority::kNormal;
  // Whose requests take turns with others' of the same priority, and share cached prefixes.
  std::string tenant;

  SteadyTime arrival;                        // when the front end received it
  std::optional<SteadyTime> deadline;        // ends with DeadlineExceeded
  std::optional<SteadyTime> time_limit;      // ends well, with kTimeLimit
  std::optional<SteadyTime> queue_deadline;  // ends with ResourceExhausted unless it runs by then
};

// The seed of a sample: that of sample 0 is the request's own.
uint64_t SampleSeed(uint64_t seed, uint32_t sample);

// ---- Events ----

struct LogprobEntry {
  uint32_t id;
  float logprob;
};

struct PositionLogprobs {
  float logprob = 0.0F;           // of the token that stands there
  std::vector<LogprobEntry> top;  // best first
};

// A token whose text is certain.
struct TokenEvent {
  uint32_t id = 0;
  uint32_t depth = 0;  // recursions of the row it was sampled from
  std::string text;    // its share of the output; may be empty
  std::optional<PositionLogprobs> logprobs;
};

enum class FinishReason {
  kEndOfSequence,
  kStopString,
  kStopToken,
  kLength,
  kContextLimit,
  kTimeLimit,
  kDrained,
};
// Every way a request can end is one of these names, or a status code: for logs and metric labels.
std::string_view FinishReasonName(FinishReason reason);

// Tokens by depth, and the rows that they were computed as. A prompt's rows are its tokens; a
// generated token has the depth of the row it was sampled from, and becomes a row of its own in the
// next step, which the last one never does.
struct DepthCounts {
  std::vector<uint64_t> by_depth;       // [recursions]: tokens of depth i + 1
  std::vector<uint64_t> rows_by_depth;  // [recursions]: rows of depth i + 1, each position once
  double Mean() const;                  // block rows over ENTRY rows; 0 without rows
};

// What is known of a request when it ends, however it ends.
struct Finish {
  // OK: `reason` says why it ended well. Otherwise Cancelled, DeadlineExceeded, ResourceExhausted
  // (queue time-out), Unavailable (engine failed), Internal (not finite).
  absl::Status status;
  FinishReason reason = FinishReason::kLength;
  std::optional<std::string> stop_string;  // that matched
  std::optional<uint32_t> stop_token_id;   // that was sampled
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  uint32_t generated_tokens = 0;
  uint32_t preemptions = 0;
  uint32_t recomputed_tokens = 0;
  std::chrono::nanoseconds recompute_time{0};
  DepthCounts prompt_depth;
  DepthCounts generated_depth;
  // Tokens that ran under a cap which adaptive depth had lowered, and the lowest such cap (0:
  // none).
  uint32_t lowered_tokens = 0;
  uint32_t lowest_cap = 0;
  std::vector<uint32_t> prompt_token_depths;  // iff asked for
  // Of all generated tokens, under the raw logits; iff asked for.
  std::optional<double> cumulative_logprob;
  std::optional<SteadyTime> admitted, first_token, last_token;
  SteadyTime ended;
  // When it got its slot, or ended without one.
  SteadyTime left_queue() const { return admitted.value_or(ended); }
};

// Receives what happens to one sample of a request. Called from the engine's loop thread, and from
// those that call Cancel, Drain and the destructor, one call at a time; must not block nor call the
// engine: hand over and return. The engine keeps the sink alive until OnFinished returned.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  // All of the prompt's log probabilities, before the first token; iff asked for and all of the
  // prompt has run, which a time limit or the drain may prevent.
  virtual void OnPromptLogprobs(std::vector<PositionLogprobs> logprobs) = 0;
  // Tokens whose text became certain in one step, in order. `generated_tokens`: sampled so far,
  // held-back ones included.
  virtual void OnTokens(std::vector<TokenEvent> tokens, uint32_t generated_tokens) = 0;
  // Exactly once, last.
  virtual void OnFinished(Finish finish) = 0;
};

// ---- What the engine says about itself ----

struct EngineInfo {
  std::string model_name, backend, precision, isa, sharing, router, kv_mode;
  uint32_t vocab_size = 0, max_context = 0, recursions = 1, threads = 1;
  float router_threshold = 0.0F;  // the model's; 0 without an expert-choice router
  std::vector<uint32_t> eos_token_ids;
  uint64_t parameters = 0;  // distinct ones
  bool has_tokenizer = false;
  // A text prompt of more bytes has more than max_context tokens whatever it says; unset: no such
  // number, because the tokenizer's tokens may stand for any number of bytes.
  std::optional<uint64_t> max_prompt_bytes;
  uint32_t kv_pages = 0, kv_page_bytes = 0,
           kv_page_entries = 0;       // entries: of one recursion's layers
  EngineOptions options;              // with every automatic value filled in
  std::vector<std::string> warnings;  // of loading
};

// Since start, by the policy that chose them.
struct EvictedEntries {
  uint64_t window = 0, attention = 0, router = 0;
};

// Counters since start, cumulative, and gauges of this moment. Plain data: the server turns it into
// metrics.
struct EngineSnapshot {
  // Gauges.
  uint32_t requests_running = 0, requests_waiting = 0;
  uint64_t waiting_tokens = 0;
  uint32_t pages_free = 0, pages_cached = 0;  // cached: of prefixes that no sequence uses
  double sharing = 1.0;                       // pages that sequences see, over those there are
  double fragmentation = 0.0;                 // share of these that holds no entries
  uint32_t depth_cap = 1;                     // of new tokens whose requests allow adaptive depth
  struct Group {
    std::string name;  // "entry", "1".."N", "exit"
    uint64_t entries = 0;
    uint32_t pages = 0;
    EvictedEntries evicted;
    uint64_t evicted_by_all() const { return evicted.window + evicted.attention + evicted.router; }
  };
  std::vector<Group> groups;
  bool failed = false;
  bool draining = false;
  // Age of the oldest unfinished step; zero when the engine is idle.
  std::chrono::nanoseconds step_age{0};

  // Counters.
  uint64_t encoded_bytes = 0;  // of texts that were turned into token ids
  uint64_t prompt_tokens = 0, generated_tokens = 0, steps = 0, preemptions_for_memory = 0,
           preemptions_for_priority = 0, recomputed_tokens = 0, prefix_tokens_wanted = 0,
           prefix_tokens_found = 0;
  std::chrono::nanoseconds recompute_time{0};  // that requests which have ended took for these
  uint64_t lowered_tokens = 0;                 // ran under a cap which adaptive depth had lowered
  uint64_t recursions_given_up = 0;            // by those that went as far as that, at most
  DepthCounts prompt_depth, generated_depth;
  static constexpr int kParts = 5;  // exit, sampling, entry, block, routers
  uint64_t part_rows[kParts] = {};
  double part_seconds[kParts] = {};
  struct Histogram {
    std::vector<double> bounds;    // upper bounds, ascending; one more bucket than bounds
    std::vector<uint64_t> counts;  // [bounds + 1]
    double sum = 0.0;
  };
  // Of each step: its time, rows of the shared block, sequences of which any row ran.
  Histogram step_seconds, batch_tokens, batch_sequences;
  Histogram part_step_seconds[kParts];  // one observation a step that ran the part
};
std::string_view StepPartName(int part);

// Thread-safe.
class Engine {
 public:
  using RequestId = uint64_t;

  // A request that was accepted.
  struct Started {
    RequestId id;  // of sample 0; the ids of the others follow one by one
    uint32_t prompt_tokens;
  };

  // Loads the model and starts the step loop's thread. InvalidArgument names the option, the value
  // and what is allowed.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options);

  virtual ~Engine() = default;

  // Validates and queues all samples, or none. On success sinks[i], of request.samples, hears of
  // sample i until OnFinished. InvalidArgument: field, value, limit; ResourceExhausted: the queue
  // that is full and its limit; Unavailable: draining or failed. On failure no sink hears anything.
  virtual absl::StatusOr<Started> Start(Request request,
                                        std::vector<std::shared_ptr<RequestSink>> sinks) = 0;

  // Ends one sample with Cancelled, soon. Unknown and finished ids are ignored.
  virtual void Cancel(RequestId id) = 0;

  // Refuses new requests from now on and ends those that still wait or run at `until` with
  // kDrained. Returns when none is left.
  virtual void Drain(SteadyTime until) = 0;

  // Blocks until the engine has failed (its status) or is being destroyed (OK).
  virtual absl::Status WaitForFailure() = 0;

  virtual EngineSnapshot Snapshot() const = 0;
  virtual const EngineInfo& Info() const = 0;

  virtual absl::StatusOr<std::vector<uint32_t>> Tokenize(std::string_view text,
                                                         bool add_special_tokens) const = 0;
  virtual absl::StatusOr<std::string> Detokenize(const std::vector<uint32_t>& ids,
                                                 bool skip_special_tokens) const = 0;
  // One token alone, decoded.
  virtual std::string TokenText(uint32_t id) const = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_ENGINE_H_
