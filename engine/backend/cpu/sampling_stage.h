// SPDX-License-Identifier: Apache-2.0
// What becomes of the logits of a step: sampled tokens, log probabilities, raw rows.
#ifndef RECURVE_ENGINE_BACKEND_CPU_SAMPLING_STAGE_H_
#define RECURVE_ENGINE_BACKEND_CPU_SAMPLING_STAGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/activations.h"
#include "engine/backend/cpu/batch.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"
#include "engine/sampling/sampler.h"

namespace recurve {

// Keeps the token counts of every slot. Memory is taken at construction and never grows. Run may be
// called by several threads at once, with different numbers; the rest is thread-compatible.
class SamplingStage {
 public:
  SamplingStage(const BackendLimits& limits, uint32_t vocab_size, uint32_t threads);

  // A new sequence was admitted to slot `id`.
  void Begin(uint32_t id);

  // A plan has sent a token of `slot`: counts it if it stands before the span in flight. Such
  // tokens come in the order of their positions, from 0 on.
  void Take(const Slot& slot, const TokenChange& change);

  // Before the shares of Run: counts the tokens of the spans of `slots`, which pass EXIT now.
  // Internal names the slot and the position of a token that some row needs and no plan has sent.
  absl::Status Prepare(const SlotTable& table, const std::vector<uint32_t>& slots,
                       const Batch& batch);

  // The part of `thread` of the work on the leading batch.logit_rows() rows of an EXIT batch.
  // logits [batch.logit_rows()][>= vocab]. The rows' slots are still at stage EXIT.
  void Run(const SlotTable& table, const Batch& batch, const Activations& logits, uint32_t thread);

  // After every share of Run: what the EXIT of `slot` yielded. O(logit rows).
  struct Verdict {
    uint32_t token = kNoToken;
    uint32_t flags = 0;
  };
  Verdict VerdictOf(const Batch& batch, uint32_t slot) const;

  // Appends log probabilities and raw logits of all rows.
  void Report(const SlotTable& table, const Batch& batch, const Activations& logits,
              StepResult& result) const;

 private:
  // Counts the tokens of the span in flight, if the slot's penalties ask for it. Internal: a token
  // of the span, or one before it, is missing.
  absl::Status CountSpan(const Slot& slot, uint32_t id);
  void Count(const Slot& slot, uint32_t id, uint32_t token);
  struct RowResult {
    Verdict verdict;
    uint32_t logprobs;  // of this row, in logprobs_
  };

  Verdict Sample(const Slot& slot, const Row& row, const LogitRow& logits, uint32_t thread);
  void FindLogprobs(const Slot& slot, const Row& row, const LogitRow& logits, uint32_t thread,
                    uint32_t index);

  const uint32_t vocab_size_;
  const uint32_t threads_;
  const uint32_t row_logprobs_;  // most of one row: its own token's and the most likely ones
  std::vector<SamplerScratch> scratch_;  // [threads]
  std::vector<TokenCounts> counts_;      // [slots]
  std::vector<RowResult> results_;       // [ends]
  std::vector<TokenLogprob> logprobs_;   // [ends][row_logprobs_]
  std::vector<uint32_t> counted_;        // [slots]: so many tokens are in counts_, the first ones
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_SAMPLING_STAGE_H_
