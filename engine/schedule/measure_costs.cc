// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/measure_costs.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/status_macros.h"
#include "engine/schedule/schedule.h"
#include "engine/schedule/step_loop.h"

namespace recurve {
namespace {

constexpr uint32_t kTokens = 3;           // of each sequence: two steps with all stages
constexpr uint32_t kFewPromptRows = 4;    // of a span: where prompts begin
constexpr uint32_t kManyPromptRows = 64;  // which are always measured
constexpr uint32_t kPromptFactor = 4;     // from one number of prompt rows to the next
constexpr double kEnough = 3e7;           // ns; what takes less is run again, for its least time,
constexpr int kMostRuns = 4;              // but no more often than that
constexpr double kLongStep = 1e8;         // ns, which no step of more prompt rows should take

class Nobody final : public SampleObserver {
 public:
  bool OnToken(const TokenOutput& /*token*/) override { return false; }
  void OnEnded(Ending /*ending*/) override {}
};

class Meter {
 public:
  Meter(Backend& backend, const ScheduleOptions& options, const StepShape& shape)
      : backend_(backend), options_(options), shape_(shape) {
    // Sequences that begin together stay together, even if the block takes them in turns.
    options_.policy = *Policy::FromName("lockstep");
    options_.costs = StageCosts();
    options_.eos_ids.clear();
    options_.prefix_cache = false;
    options_.queue_time_goal.reset();
    options_.headroom = 0;
    options_.max_queued_requests = options_.limits.slots;
    options_.max_queued_tokens = uint64_t{options_.limits.slots} * options_.limits.max_positions;
  }

  absl::StatusOr<StageCosts> Measure();

 private:
  // Has `sequences` of `prompt` tokens generate `tokens` each, in one recursion; several times if
  // that is short, since on a busy machine most steps take too long.
  absl::Status Run(uint32_t sequences, uint32_t prompt, uint32_t tokens);
  absl::Status RunOnce(uint32_t sequences, uint32_t prompt, uint32_t tokens);
  void Take(const StepResult& result);

  Backend& backend_;
  ScheduleOptions options_;
  const StepShape shape_;
  Nobody nobody_;
  StageCosts costs_;
  double step_ns_ = 0;  // of the last run's longest step
  double run_ns_ = 0;   // of all its steps
};

absl::StatusOr<StageCosts> Meter::Measure() {
  const BackendLimits& limits = options_.limits;
  const uint32_t most = std::min(limits.slots, limits.ends);
  for (uint32_t rows = 1; rows < most; rows *= 2) RETURN_IF_ERROR(Run(rows, 1, kTokens));
  // What a step has as a rule, if more rows wait than the block takes, and at most.
  if (limits.block_rows < most) RETURN_IF_ERROR(Run(limits.block_rows, 1, kTokens));
  RETURN_IF_ERROR(Run(most, 1, kTokens));

  const uint32_t chunk = limits.chunk;
  for (uint32_t rows = std::min(kFewPromptRows, chunk);;
       rows = std::min(rows * kPromptFactor, chunk)) {
    options_.limits.chunk = rows;
    RETURN_IF_ERROR(Run(1, std::min(3 * rows, limits.max_positions - 1), 1));
    const bool is_long = rows >= kManyPromptRows && step_ns_ * kPromptFactor > kLongStep;
    if (rows == chunk || is_long) return std::move(costs_);
  }
}

absl::Status Meter::Run(uint32_t sequences, uint32_t prompt, uint32_t tokens) {
  run_ns_ = 0;
  for (int i = 0; i < kMostRuns && run_ns_ < kEnough; ++i) {
    RETURN_IF_ERROR(RunOnce(sequences, prompt, tokens));
  }
  return absl::OkStatus();
}

absl::Status Meter::RunOnce(uint32_t sequences, uint32_t prompt, uint32_t tokens) {
  ASSIGN_OR_RETURN(const auto schedule, Schedule::Create(options_, shape_, Clock::Steady()));
  for (uint32_t i = 0; i < sequences; ++i) {
    ScheduledSample sample;
    sample.id = i + 1;
    for (uint32_t j = 0; j < prompt; ++j) sample.prompt.push_back((i + j) % options_.vocab_size);
    sample.max_tokens = std::min(tokens, options_.limits.max_positions - prompt);
    sample.caps = {{0, 1}};
    sample.observer = &nobody_;
    // Where a context or a pool is that small there is nothing to measure.
    if (!schedule->Add(std::move(sample)).ok()) break;
  }
  step_ns_ = 0;
  const auto next_plan = [&] { return schedule->HasWork() ? &schedule->Plan() : nullptr; };
  const auto commit = [&](const StepResult& result) {
    Take(result);
    schedule->Commit(result);
  };
  const absl::Status status = RunSteps(backend_, /*queue_depth=*/0, next_plan, commit);
  schedule->EndAll(EndReason::kDrained, absl::OkStatus());
  return status;
}

void Meter::Take(const StepResult& result) {
  const auto ns = [&result](StepPart part) { return static_cast<double>(result.part_ns[part]); };
  const uint32_t* const rows = result.part_rows;
  const double block = ns(kPartBlock) + ns(kPartRouters);
  const double ends = ns(kPartExit) + ns(kPartSampling) + ns(kPartEntry);
  step_ns_ = std::max(step_ns_, block + ends);
  run_ns_ += block + ends;
  if (rows[kPartBlock] > 0) costs_.block.See(rows[kPartBlock], block);
  if (rows[kPartExit] == 0 || rows[kPartExit] != rows[kPartEntry]) return;
  if (rows[kPartSampling] == rows[kPartExit]) costs_.ends.See(rows[kPartExit], ends);
  if (rows[kPartSampling] == 0) costs_.prompt_ends.See(rows[kPartExit], ends);
}

}  // namespace

absl::StatusOr<StageCosts> MeasureCosts(Backend& backend, const ScheduleOptions& options,
                                        const StepShape& shape) {
  return Meter(backend, options, shape).Measure();
}

}  // namespace recurve
