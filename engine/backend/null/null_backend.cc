// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/null/null_backend.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/gate.h"
#include "engine/backend/limits.h"
#include "engine/backend/model_shape.h"
#include "engine/backend/rows.h"
#include "engine/base/math.h"
#include "engine/base/mix_bits.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr BackendMaxima kMaxima = {.slots = NullBackend::kMaxSlots,
                                   .hidden_rows = NullBackend::kMaxSlots};

// `what` tells draws of one position from each other; 0 is its token, r the r-th router.
uint64_t Draw(const Slot& slot, uint32_t position, uint32_t what) {
  return MixBits(MixBits(slot.sampling.seed() + kGoldenGamma * (uint64_t{position} + 1)) + what);
}

bool IsStopId(const Slot& slot, TokenId token) {
  return std::find(slot.stop_ids.begin(), slot.stop_ids.end(), token) != slot.stop_ids.end();
}

}  // namespace

absl::StatusOr<std::unique_ptr<NullBackend>> NullBackend::Create(std::shared_ptr<const Model> model,
                                                                 const BackendLimits& limits) {
  RETURN_IF_ERROR(CheckLimits(limits, model->config, kMaxima));
  return std::unique_ptr<NullBackend>(new NullBackend(std::move(model), limits));
}

NullBackend::NullBackend(std::shared_ptr<const Model> model, const BackendLimits& limits)
    : model_(std::move(model)),
      vocab_size_(model_->config.vocab_size),
      logprob_(-Ln(static_cast<float>(vocab_size_))),
      table_(ShapeOf(model_->config), limits, vocab_size_, PageEntries(model_->config)),
      selection_(limits.slots),
      passes_(limits.chunk),
      outcomes_(limits.slots),
      results_(limits) {}

absl::Status NullBackend::Submit(const StepPlan& plan) {
  return results_.Fill([&](StepResult& result) {
    const auto begin = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(Step(plan, result));
    const auto time = std::chrono::steady_clock::now() - begin;
    result.part_ns[kPartBlock] = static_cast<uint64_t>(std::chrono::nanoseconds(time).count());
    return absl::OkStatus();
  });
}

absl::Status NullBackend::Collect(StepResult& result) { return results_.Take(result); }

absl::Status NullBackend::Step(const StepPlan& plan, StepResult& result) {
  RETURN_IF_ERROR(table_.Apply(plan, [](const Evict&) {}));
  result.epoch = plan.epoch;
  for (uint32_t id = 0; id < table_.size(); ++id) {
    outcomes_[id] = {};
    outcomes_[id].slot = id;
  }
  if (Selection::EndsRun(table_, plan)) {
    RETURN_IF_ERROR(RunExit(plan, result));
    RETURN_IF_ERROR(RunEntry(plan, result));
  }
  RETURN_IF_ERROR(RunBlock(plan, result));
  for (const Outcome& outcome : outcomes_) {
    if (outcome.ran != 0) result.outcomes.push_back(outcome);
  }
  return absl::OkStatus();
}

absl::Status NullBackend::RunExit(const StepPlan& plan, StepResult& result) {
  const uint32_t group = table_.shape().exit_group();
  for (const uint32_t id : selection_.Exit(table_, plan)) {
    const Slot& slot = table_.slot(id);
    const SlotState state = slot.state;
    RETURN_IF_ERROR(table_.CheckPages(id, group, state.rows));
    Outcome& outcome = outcomes_[id];
    outcome.ran = kRanExit;
    if (Samples(state, slot.limits)) {
      outcome.token = TokenAt(slot, state.position + state.rows);
      if (IsStopId(slot, outcome.token)) outcome.flags = kStopId;
    }
    const uint32_t logits = LogitRows(slot);
    for (uint32_t row = state.rows - logits; row < state.rows; ++row) {
      TellLogits(slot, id, state.position + row, outcome.token, result);
    }
    result.part_rows[kPartExit] += state.rows;
    result.part_rows[kPartSampling] += logits;
  }
  for (uint32_t id = 0; id < table_.size(); ++id) {  // depths come in the outcomes' order
    if (outcomes_[id].ran == 0) continue;
    const std::vector<uint32_t>& depths = table_.slot(id).row_depth;
    result.depths.insert(result.depths.end(), depths.begin(), depths.end());
    table_.Exited(id, outcomes_[id].token, outcomes_[id].flags);
  }
  return absl::OkStatus();
}

absl::Status NullBackend::RunEntry(const StepPlan& plan, StepResult& result) {
  const uint32_t group = table_.shape().entry_group();
  for (const uint32_t id : selection_.Entry(table_, plan)) {
    const Slot& slot = table_.slot(id);
    const uint32_t rows = SpanRows(slot.state, slot.limits);
    RETURN_IF_ERROR(table_.CheckPages(id, group, rows));
    for (uint32_t row = 0; row < rows; ++row) {
      const uint32_t position = slot.state.position + row;
      if (slot.TokenAt(position) != kNoToken) continue;
      return absl::InternalError(
          absl::StrCat("plan: slot ", id, " has no token at position ", position));
    }
    table_.Entered(id);
    outcomes_[id].ran |= kRanEntry;
    outcomes_[id].rows = rows;
    result.part_rows[kPartEntry] += rows;
  }
  return absl::OkStatus();
}

absl::Status NullBackend::RunBlock(const StepPlan& plan, StepResult& result) {
  const StepShape& shape = table_.shape();
  for (const uint32_t id : selection_.Block(table_, plan)) {
    const Slot& slot = table_.slot(id);
    const SlotState& state = slot.state;
    const uint32_t recursion = state.recursion;
    const uint32_t rows = state.active;
    if (shape.appends(recursion)) {
      RETURN_IF_ERROR(table_.CheckPages(id, shape.group(recursion), rows));
    }
    for (uint32_t i = 0; i < rows; ++i) {
      const uint32_t position = state.position + slot.active[i];
      const float logit = (Draw(slot, position, recursion) & 1) != 0 ? 1.0F : -1.0F;
      const uint32_t cap = slot.CapAt(position, shape.recursions);
      passes_[i] = ExpertPasses(logit, slot.threshold_logit, recursion, cap) ? 1 : 0;
    }
    table_.RanBlock(id, passes_.data());
    outcomes_[id].ran |= kRanBlock;
    outcomes_[id].active = state.active;
    result.part_rows[kPartBlock] += rows;
  }
  result.part_rows[kPartRouters] = result.part_rows[kPartBlock];
  return absl::OkStatus();
}

TokenId NullBackend::TokenAt(const Slot& slot, uint32_t position) const {
  auto token = static_cast<TokenId>(Draw(slot, position, 0) % vocab_size_);
  if (position >= slot.sampling.min_end) return token;
  // A vocabulary of nothing but stop ids is left as it is.
  for (uint32_t i = 0; i < vocab_size_ && IsStopId(slot, token); ++i) {
    token = (token + 1) % vocab_size_;
  }
  return token;
}

void NullBackend::TellLogits(const Slot& slot, uint32_t id, uint32_t position, TokenId token,
                             StepResult& result) const {
  if ((slot.wants & kWantsRawLogits) != 0) {
    result.logits_rows.push_back({id, position});
    result.logits.resize(result.logits.size() + vocab_size_, 0.0F);
  }
  TokenId next = kNoToken;
  if (WantsGivenToken(slot, position)) {
    next = slot.TokenAt(position + 1);
  } else if (slot.logprobs != kNoLogprobs) {
    next = token;
  }
  if (next == kNoToken) return;
  result.logprobs.push_back({id, position + 1, next, logprob_});
  const uint32_t most = slot.logprobs == kNoLogprobs ? 0 : std::min(slot.logprobs, vocab_size_);
  for (TokenId likely = 0; likely < most; ++likely) {
    result.logprobs.push_back({id, position + 1, likely, logprob_});
  }
}

}  // namespace recurve
