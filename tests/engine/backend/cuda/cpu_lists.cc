// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/cpu_lists.h"

#include "engine/base/status_macros.h"

namespace recurve::cuda {

CpuLists::CpuLists(const TableSizes& sizes, const BackendLimits& limits,
                   const EntriesPerPage& entries_per_page)
    : has_exit_layers_(sizes.exit_layers > 0),
      has_overlay_(sizes.overlay > 0),
      table_(sizes.shape, limits, sizes.vocab, entries_per_page),
      selection_(limits.slots),
      exit_(limits, 1),  // nothing attends here
      entry_(limits, 1),
      block_(limits, 1),
      outcomes_(limits.slots) {}

absl::Status CpuLists::Begin(const StepPlan& plan) {
  RETURN_IF_ERROR(table_.Apply(plan, [](const Evict& /*evict*/) {}));
  plan_ = plan;
  result_.Clear();
  result_.epoch = plan.epoch;
  for (uint32_t id = 0; id < table_.size(); ++id) {
    outcomes_[id] = {};
    outcomes_[id].slot = id;
  }
  ends_run_ = Selection::EndsRun(table_, plan);
  exit_slots_.clear();
  if (ends_run_) exit_slots_ = selection_.Exit(table_, plan);
  exit_.MakeExit(table_, exit_slots_, has_exit_layers_);
  exit_span_rows_ = 0;
  for (const uint32_t id : exit_slots_) exit_span_rows_ += table_.slot(id).state.rows;
  return absl::OkStatus();
}

void CpuLists::Exited(const Verdict* verdicts, const TokenLogprob* logprobs,
                      uint32_t row_logprobs) {
  for (const uint32_t id : exit_slots_) outcomes_[id].ran = kRanExit;
  for (uint32_t i = 0; i < exit_.logit_rows(); ++i) {
    const Row& row = exit_.rows()[i];
    Outcome& outcome = outcomes_[row.slot];
    if (SamplesRow(table_.slot(row.slot), row.position)) outcome.token = verdicts[i].token;
    outcome.flags |= verdicts[i].flags;
    for (uint32_t j = 0; j < verdicts[i].logprobs; ++j) {
      result_.logprobs.push_back(logprobs[size_t{i} * row_logprobs + j]);
    }
    if ((table_.slot(row.slot).wants & kWantsRawLogits) == 0) continue;
    result_.logits_rows.push_back({row.slot, row.position});
  }
  for (Outcome& outcome : outcomes_) {
    if (outcome.ran == 0) continue;
    if ((outcome.flags & kNotFinite) != 0) outcome.token = kNoToken;
    const std::vector<uint32_t>& depths = table_.slot(outcome.slot).row_depth;
    result_.depths.insert(result_.depths.end(), depths.begin(), depths.end());
    table_.Exited(outcome.slot, outcome.token, outcome.flags);
  }
  Enter(plan_);
  block_slots_ = selection_.Block(table_, plan_);
  block_.MakeBlock(table_, block_slots_, has_overlay_);
}

void CpuLists::Enter(const StepPlan& plan) {
  const std::vector<uint32_t> slots =
      ends_run_ ? selection_.Entry(table_, plan) : std::vector<uint32_t>();
  entry_.MakeEntry(table_, slots);
  for (const uint32_t id : slots) {
    table_.Entered(id);
    outcomes_[id].ran |= kRanEntry;
    outcomes_[id].rows = table_.slot(id).state.rows;
  }
}

void CpuLists::RanBlock(const uint32_t* passes) {
  // A slot's rows lie together.
  for (uint32_t i = 0; i < block_.size();) {
    const uint32_t id = block_.rows()[i].slot;
    std::vector<uint8_t> of_slot;
    for (; i < block_.size() && block_.rows()[i].slot == id; ++i) {
      of_slot.push_back(passes[i] != 0 ? 1 : 0);
    }
    table_.RanBlock(id, of_slot.data());
    outcomes_[id].ran |= kRanBlock;
    outcomes_[id].active = table_.slot(id).state.active;
  }
  for (const Outcome& outcome : outcomes_) {
    if (outcome.ran != 0) result_.outcomes.push_back(outcome);
  }
  result_.part_rows[kPartExit] = exit_span_rows_;
  result_.part_rows[kPartSampling] = exit_.logit_rows();
  result_.part_rows[kPartEntry] = entry_.size();
  result_.part_rows[kPartBlock] = result_.part_rows[kPartRouters] = block_.size();
}

}  // namespace recurve::cuda
