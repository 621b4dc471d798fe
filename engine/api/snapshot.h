// SPDX-License-Identifier: Apache-2.0
// What an engine says about itself.
#ifndef RECURVE_ENGINE_API_SNAPSHOT_H_
#define RECURVE_ENGINE_API_SNAPSHOT_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/api/options.h"
#include "engine/api/output.h"

namespace recurve {

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

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_SNAPSHOT_H_
