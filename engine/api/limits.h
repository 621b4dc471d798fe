// SPDX-License-Identifier: Apache-2.0
// The limits that an engine is dimensioned by, each with the one default that it has: options, the
// schedule and backends share these. A field's comment is its flag's help.
#ifndef RECURVE_ENGINE_API_LIMITS_H_
#define RECURVE_ENGINE_API_LIMITS_H_

#include <cstdint>

namespace recurve {

// Of a step.
struct StepLimits {
  uint32_t slots = 32;      // sequences in flight
  uint32_t areas = 4;       // prompts in progress at once
  uint32_t chunk = 256;     // most prompt rows of one sequence in a step
  uint32_t ends = 0;        // most generated rows in ENTRY and EXIT of a step; 0: as many as slots
  uint32_t block_rows = 0;  // most generated rows in the block of a step; 0: as many as slots
  uint32_t prompt_rows = 256;  // most prompt rows in each stage of a step; at least chunk

  // Fills in those that are 0. The schedule and backends are made with limits that are.
  void FillIn() {
    if (ends == 0) ends = slots;
    if (block_rows == 0) block_rows = slots;
  }

  bool operator==(const StepLimits&) const = default;
};

// Of who waits for a slot, who gets one, and how long it is kept.
struct AdmissionLimits {
  uint32_t max_queued_requests = 256;    // waiting for a slot; more are refused
  uint64_t max_queued_tokens = 262'144;  // prompt tokens waiting for a slot; more are refused; at
                                         // least the context
  // Tokens for which admission leaves pages to each sequence that runs, as far as it may still go:
  // who is admitted into their last pages is soon preempted for them.
  uint32_t headroom = 64;
  // A request that was preempted so often is admitted only with pages for all that it may become,
  // and then stays.
  uint32_t max_preemptions = 3;
  uint32_t default_max_tokens = 1024;  // new tokens of a request that does not say

  bool operator==(const AdmissionLimits&) const = default;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_LIMITS_H_
