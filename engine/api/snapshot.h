// SPDX-License-Identifier: Apache-2.0
// What an engine says about itself.
#ifndef RECURVE_ENGINE_API_SNAPSHOT_H_
#define RECURVE_ENGINE_API_SNAPSHOT_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/api/memory_piece.h"
#include "engine/api/options.h"
#include "engine/api/output.h"
#include "engine/tokenizer/chat_format.h"

namespace recurve {

struct EngineInfo {
  std::string model_name, backend, precision, kv_precision, isa, sharing, router, kv_mode;
  // Engines with the same one give a request with a seed the same bits; empty if this one does not
  // give them itself.
  std::string fingerprint;
  uint32_t vocab_size = 0, max_context = 0, recursions = 1, threads = 1;
  float router_threshold = 0.0F;  // the model's; 0 without an expert-choice router
  std::vector<TokenId> eos_token_ids;
  uint64_t parameters = 0;  // distinct ones
  bool has_tokenizer = false;
  ChatFormat chat;
  // A text prompt of more bytes has more than max_context tokens whatever it says; unset: no such
  // number, because the tokenizer's tokens may stand for any number of bytes.
  std::optional<uint64_t> max_prompt_bytes;
  uint32_t kv_pages = 0, kv_page_bytes = 0,
           kv_page_entries = 0;            // entries: of one recursion's layers
  EngineOptions options;                   // with every automatic value filled in
  std::vector<MemoryPiece> device_memory;  // that the backend has, summarized; empty: the host's
  std::vector<std::string> warnings;       // of loading
};

// What the schedule counts. Unless another time is said, it is of the last committed step, or of
// the last plan if that let a sample in or ended one; who waits is of this moment.
struct ScheduleCounters {
  struct Group {
    std::string name;          // "entry", "1".."N", "exit"
    uint64_t entries = 0;      // held by all sequences, as of the last committed step
    uint32_t filled = 0;       // pages that hold entries
    uint32_t filled_peak = 0;  // the most after any step, before sequences that ended in it left
    // Pages that sequences have, filled or not; those that n of them share count n times, here and
    // in the two above.
    uint32_t reserved = 0;
    // Entries dropped since the start, by the policy that chose them.
    struct {
      uint64_t window = 0, attention = 0, router = 0;
    } evicted;
    uint64_t evicted_by_all() const { return evicted.window + evicted.attention + evicted.router; }
  };
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint64_t waiting_tokens = 0;
  uint32_t depth_cap = 1;  // of new tokens whose requests allow adaptive depth
  // Of the last plan: rows that wait for EXIT and ENTRY until these run, all slots at most; and
  // prompt rows that a step may have.
  uint32_t ends_min = 1;
  uint32_t prompt_rows = 0;
  uint32_t pages_free = 0;
  uint32_t pages_cached = 0;       // of prefixes that no sequence uses
  uint32_t pages_reserved = 0;     // of sequences, each counted once
  uint32_t pages_in_use_peak = 0;  // since the start, cached ones included
  uint32_t pages_filled = 0;
  uint32_t pages_filled_peak = 0;
  double pages_packed = 0.0;  // that would hold all entries, each sequence's for itself
  std::vector<Group> groups;  // [recursions + 2]
  // The share of a cache's `pages` that requests use; 0 of none.
  double PageUse(uint32_t pages) const;
  // How often a page of a sequence is seen, on the average: 1 if none is shared.
  double Sharing() const;
  // The share of the pages that sequences see that holds no entries.
  double Fragmentation() const;

  // Since the start.
  uint64_t generated_tokens = 0;
  uint64_t preemptions_for_memory = 0;
  uint64_t preemptions_for_priority = 0;
  uint64_t recomputed_tokens = 0;
  std::chrono::nanoseconds recompute_time{0};  // of requests that have ended
  uint64_t full_plans = 0;  // with no space for all that sequences needed, the rest of which the
                            // next plan says
  uint64_t prefix_tokens_wanted = 0;  // tokens looked up in the prefix cache, once a request
  uint64_t prefix_tokens_found = 0;   // of these, those that were there
  // Tokens, each position of a request once, that ran under a cap which the dial had lowered; and
  // the recursions that those which went as far as that were kept from at most.
  uint64_t lowered_tokens = 0;
  uint64_t recursions_given_up = 0;
  DepthCounts prompt_depth, generated_depth;  // of what was computed here
};

// What the steps cost and did, since the start.
struct StepTotals {
  static constexpr int kParts = 5;  // exit, sampling, entry, block, routers
  struct Histogram {
    std::vector<double> bounds;    // upper bounds, ascending; one more bucket than bounds
    std::vector<uint64_t> counts;  // [bounds + 1]
    double sum = 0.0;
  };
  uint64_t count = 0;
  std::array<uint64_t, kParts> part_rows{};
  std::array<double, kParts> part_seconds{};
  // Of each step: its time, rows of the shared block, sequences of which any row ran.
  Histogram seconds, batch_tokens, batch_sequences;
  // One observation a step that ran the part.
  std::array<Histogram, kParts> part_step_seconds;
};

// Plain data: the server turns it into metrics.
struct EngineSnapshot {
  ScheduleCounters schedule;
  StepTotals steps;
  bool failed = false;
  bool stuck = false;  // failed, because a step has not come back in time
  bool draining = false;
  // Age of the oldest unfinished step; zero when the engine is idle.
  std::chrono::nanoseconds step_age{0};
  // Since the start.
  uint64_t encoded_bytes = 0;  // of texts that were turned into token ids
  uint64_t prompt_tokens = 0;  // of requests that were accepted
};
std::string_view StepPartName(int part);

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_SNAPSHOT_H_
