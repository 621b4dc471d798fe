// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/sampling_stage.h"

#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/sampling/arithmetic.h"

namespace recurve {
namespace {

absl::Status MissingToken(uint32_t slot, uint32_t position) {
  return absl::InternalError(
      absl::StrCat("plan: slot ", slot, " has no token at position ", position));
}

}  // namespace

SamplingStage::SamplingStage(const BackendLimits& limits, uint32_t vocab_size, uint32_t threads)
    : vocab_size_(vocab_size),
      threads_(threads),
      row_logprobs_(1 + std::min(limits.max_logprobs, vocab_size)),
      results_(limits.ends),
      logprobs_(size_t{limits.ends} * row_logprobs_),
      counted_(limits.slots) {
  // Built in place: a copy would not have the memory that was set aside.
  scratch_.reserve(threads);
  for (uint32_t i = 0; i < threads; ++i) scratch_.emplace_back(vocab_size, limits.max_logprobs);
  counts_.reserve(limits.slots);
  for (uint32_t i = 0; i < limits.slots; ++i) counts_.emplace_back(vocab_size);
}

void SamplingStage::Begin(uint32_t id) {
  counts_[id].Clear();
  counted_[id] = 0;
}

void SamplingStage::Count(const Slot& slot, uint32_t id, uint32_t token) {
  counts_[id].Add(token, counted_[id] >= slot.sampling.generated);
  ++counted_[id];
}

void SamplingStage::Take(const Slot& slot, const TokenChange& change) {
  if (change.position >= slot.state.position || !UsesTokenCounts(slot.sampling)) return;
  // One that is left out is missed by CountSpan.
  if (change.position == counted_[change.slot]) Count(slot, change.slot, change.token);
}

absl::Status SamplingStage::CountSpan(const Slot& slot, uint32_t id) {
  if (!UsesTokenCounts(slot.sampling)) return absl::OkStatus();
  const uint32_t position = slot.state.position;
  if (counted_[id] != position) return MissingToken(id, counted_[id]);
  for (uint32_t row = 0; row < slot.state.rows; ++row) {
    const uint32_t token = slot.TokenAt(position + row);
    if (token == kNoToken) return MissingToken(id, position + row);
    Count(slot, id, token);
  }
  return absl::OkStatus();
}

absl::Status SamplingStage::Prepare(const SlotTable& table, const std::vector<uint32_t>& slots,
                                    const Batch& batch) {
  for (uint32_t i = 0; i < batch.logit_rows(); ++i) {
    const Row& row = batch.rows()[i];
    const Slot& slot = table.slot(row.slot);
    const uint32_t given = row.position + 1;
    if (WantsGivenToken(slot, row.position) && slot.TokenAt(given) == kNoToken) {
      return MissingToken(row.slot, given);
    }
  }
  for (const uint32_t id : slots) RETURN_IF_ERROR(CountSpan(table.slot(id), id));
  return absl::OkStatus();
}

SamplingStage::Verdict SamplingStage::Sample(const Slot& slot, const Row& row,
                                             const LogitRow& logits, uint32_t thread) {
  const SampleResult sample =
      SampleToken(logits, slot.sampling, counts_[row.slot].entries(), slot.biases, slot.stop_ids,
                  row.position + 1, scratch_[thread]);
  return {sample.token, sample.is_stop_id ? kStopId : 0};
}

void SamplingStage::FindLogprobs(const Slot& slot, const Row& row, const LogitRow& logits,
                                 uint32_t thread, uint32_t index) {
  RowResult& result = results_[index];
  uint32_t next = kNoToken;
  if (WantsGivenToken(slot, row.position)) {
    next = slot.TokenAt(row.position + 1);
  } else if (slot.logprobs != kNoLogprobs) {
    next = result.verdict.token;
  }
  if (next == kNoToken) return;
  const uint32_t top_n = slot.logprobs == kNoLogprobs ? 0 : slot.logprobs;
  TokenLogprob* out = &logprobs_[size_t{index} * row_logprobs_];
  for (const IdLogprob& entry : Logprobs(logits, next, top_n, scratch_[thread])) {
    out[result.logprobs++] = {row.slot, row.position + 1, entry.id, entry.value};
  }
}

void SamplingStage::Run(const SlotTable& table, const Batch& batch, const Activations& logits,
                        uint32_t thread) {
  for (uint32_t i = thread; i < batch.logit_rows(); i += threads_) {
    const Row& row = batch.rows()[i];
    const Slot& slot = table.slot(row.slot);
    const LogitRow row_logits({logits.floats(i), vocab_size_});
    results_[i] = {};
    if (!row_logits.finite) {
      results_[i].verdict.flags = kNotFinite;
      continue;
    }
    if (SamplesRow(slot, row.position)) {
      results_[i].verdict = Sample(slot, row, row_logits, thread);
    }
    FindLogprobs(slot, row, row_logits, thread, i);
  }
}

SamplingStage::Verdict SamplingStage::VerdictOf(const Batch& batch, uint32_t slot) const {
  Verdict verdict;
  for (uint32_t i = 0; i < batch.logit_rows(); ++i) {
    if (batch.rows()[i].slot != slot) continue;
    if (results_[i].verdict.token != kNoToken) verdict.token = results_[i].verdict.token;
    verdict.flags |= results_[i].verdict.flags;
  }
  if ((verdict.flags & kNotFinite) != 0) verdict.token = kNoToken;
  return verdict;
}

void SamplingStage::Report(const SlotTable& table, const Batch& batch, const Activations& logits,
                           StepResult& result) const {
  for (uint32_t i = 0; i < batch.logit_rows(); ++i) {
    const Row& row = batch.rows()[i];
    const auto begin = logprobs_.begin() + static_cast<std::ptrdiff_t>(size_t{i} * row_logprobs_);
    result.logprobs.insert(result.logprobs.end(), begin, begin + results_[i].logprobs);
    if ((table.slot(row.slot).wants & kWantsRawLogits) == 0) continue;
    result.logits_rows.push_back({row.slot, row.position});
    const float* row_logits = logits.floats(i);
    result.logits.insert(result.logits.end(), row_logits, row_logits + vocab_size_);
  }
}

}  // namespace recurve
