// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/planner_backend.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/math.h"
#include "engine/base/status_macros.h"
#include "engine/sampling/arithmetic.h"
#include "tests/engine/backend/cuda/compare_lists.h"
#include "tests/engine/backend/twin_backend.h"

namespace recurve::cuda {
namespace {

absl::Status Unlike(uint32_t step, const std::string& difference) {
  if (difference.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("step ", step, ", ", difference));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PlannerBackend>> PlannerBackend::Create(const DrawnLoad& load,
                                                                       PlannerFigures* figures,
                                                                       uint32_t broken) {
  std::mt19937_64 random(load.backend_seed);
  SlotSpread spread;
  // In one warp as a rule, which is sooner done; else over several.
  if (random() % 4 == 0) {
    spread.first = static_cast<uint32_t>(random() % 40);
    spread.step = 1 + static_cast<uint32_t>(random() % 9);
  }
  BackendLimits limits = load.options.limits;
  limits.slots = spread.Out(limits.slots - 1) + 1;
  const bool overlay = load.model.shape.shared_kv == 0 && random() % 4 == 0;
  // The emulator's ascending order is the sooner done too.
  const uint64_t seed = random() % 2 == 0 ? 0 : load.backend_seed;
  ASSIGN_OR_RETURN(auto device, FakeDevice::Create(load.model, limits,
                                                   load.options.entries_per_page, overlay, seed));
  device->BreakRows(broken);
  return std::unique_ptr<PlannerBackend>(
      new PlannerBackend(spread, std::move(device), limits, load, figures));
}

PlannerBackend::PlannerBackend(SlotSpread spread, std::unique_ptr<FakeDevice> device,
                               const BackendLimits& limits, const DrawnLoad& load,
                               PlannerFigures* figures)
    : spread_(spread),
      device_(std::move(device)),
      cpu_(device_->sizes(), limits, load.options.entries_per_page),
      replay_(load.model.shape, limits, load.model.vocab, load.options.entries_per_page),
      random_(load.backend_seed + 1),
      figures_(figures) {}

void PlannerBackend::Rewrite(StepPlan& plan) {
  const auto move = [this](auto& changes) {
    for (auto& change : changes) change.slot = spread_.Out(change.slot);
  };
  move(plan.drops);
  move(plan.admits);
  move(plan.evicts);
  move(plan.pages);
  move(plan.tokens);
  move(plan.caps);
  move(plan.rooms);
  for (Admission& admission : plan.admits) {
    if (random_() % 2 == 0) admission.sampling.presence_penalty = 1.0F;
    if (random_() % 4 == 0) admission.wants |= kWantsRawLogits;
  }
}

absl::Status PlannerBackend::Submit(const StepPlan& plan) {
  absl::Status status = Run(plan);
  if (!status.ok() && figures_->error.empty()) figures_->error = status.ToString();
  return status;
}

absl::Status PlannerBackend::Run(const StepPlan& plan) {
  StepPlan moved = plan;
  Rewrite(moved);
  StepResult result;
  RETURN_IF_ERROR(replay_.Submit(moved));
  RETURN_IF_ERROR(Step(moved, result));
  RETURN_IF_ERROR(Compare(result));
  RETURN_IF_ERROR(replay_.Replay(result));
  Count(moved, result);
  for (Outcome& outcome : result.outcomes) outcome.slot = spread_.Back(outcome.slot);
  for (TokenLogprob& logprob : result.logprobs) logprob.slot = spread_.Back(logprob.slot);
  result.logits_rows.clear();  // the load has not asked for them
  result.logits.clear();
  results_.push_back(std::move(result));
  return absl::OkStatus();
}

absl::Status PlannerBackend::Step(const StepPlan& plan, StepResult& result) {
  RETURN_IF_ERROR(cpu_.Begin(plan));
  RETURN_IF_ERROR(device_->Begin(plan));
  RETURN_IF_ERROR(device_->PlanExit());
  RETURN_IF_ERROR(Unlike(plan.epoch, CompareExit(*device_, cpu_)));
  RETURN_IF_ERROR(device_->RunExit());
  RETURN_IF_ERROR(device_->PlanBlock());
  cpu_.Exited(device_->verdicts(), device_->logprobs(), device_->row_logprobs());
  RETURN_IF_ERROR(Unlike(plan.epoch, CompareBlock(*device_, cpu_)));
  RETURN_IF_ERROR(device_->RunRows());
  RETURN_IF_ERROR(Unlike(plan.epoch, CompareCaps(*device_, cpu_)));
  cpu_.RanBlock(device_->passes());
  return device_->Publish(result);
}

absl::Status PlannerBackend::Compare(const StepResult& result) const {
  // The raw logits are those that layers have written, row by row.
  StepResult expected = cpu_.result();
  const size_t vocab = device_->sizes().vocab;
  for (size_t i = 0; i < cpu_.exit().logit_rows(); ++i) {
    const Row& from = cpu_.exit().rows()[i];
    if ((cpu_.table().slot(from.slot).wants & kWantsRawLogits) == 0) continue;
    const float* const logits = device_->logits() + i * vocab;
    expected.logits.insert(expected.logits.end(), logits, logits + vocab);
  }
  std::string difference = Difference(result, expected);
  if (difference.empty()) difference = CompareSlots(*device_, cpu_);
  return Unlike(expected.epoch, difference);
}

void PlannerBackend::Count(const StepPlan& plan, const StepResult& result) {
  figures_->exit_rows += cpu_.exit().size();
  figures_->entry_rows += cpu_.entry().size();
  figures_->block_rows += cpu_.block().size();
  if (cpu_.block().recursions().size() > 1) ++figures_->mixed_steps;
  for (const uint32_t id : cpu_.exit_slots()) {
    if (UsesTokenCounts(cpu_.table().slot(id).sampling)) ++figures_->penalized_spans;
  }
  figures_->raw_logits += result.logits_rows.size();
  for (const Outcome& outcome : result.outcomes) {
    if ((outcome.flags & kNotFinite) != 0) ++figures_->not_finite;
  }
  figures_->copies += plan.copies.size();
  figures_->evictions += plan.evicts.size();
}

absl::Status PlannerBackend::Collect(StepResult& result) {
  result = std::move(results_.front());
  results_.pop_front();
  return absl::OkStatus();
}

}  // namespace recurve::cuda
