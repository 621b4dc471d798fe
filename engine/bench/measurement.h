// SPDX-License-Identifier: Apache-2.0
// One measured run of the engine's schedule and backend, without network or text.
#ifndef RECURVE_ENGINE_BENCH_MEASUREMENT_H_
#define RECURVE_ENGINE_BENCH_MEASUREMENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/backend_builder.h"
#include "engine/backend/facts.h"
#include "engine/backend/machine_probe.h"
#include "engine/backend/precision.h"
#include "engine/backend/step.h"
#include "engine/model/weights.h"
#include "engine/schedule/policy.h"
#include "engine/schedule/schedule.h"

namespace recurve {

struct BenchOptions {
  Policy policy;
  // Whether stages are measured before the first run, if the backend computes: for `staged`, and
  // for the prompt rows that share steps. Without that steps do not depend on times.
  bool measures_costs = false;
  uint32_t streams = 32;    // sequences in flight
  uint32_t block_rows = 0;  // 0: as many as streams
  uint32_t prompt_tokens = 128;
  uint32_t shared_prompt_tokens = 0;  // of these, those with which all prompts begin
  bool prefix_cache = true;
  uint32_t new_tokens = 128;
  std::optional<uint32_t> queue_depth;  // steps queued behind the running one; none: the backend's
  uint64_t seed = 1;
  size_t number_bytes = 2;                    // of a weight, as the backend's precision has them
  Precision kv_precision = Precision::kBf16;  // the backend's
  // [recursions]: part of the tokens that takes each recursion, nested; empty: the model's router
  // decides. One uniform number for each (seed, stream, position) stands in for the router.
  std::vector<double> shares;
};

struct Measurement {
  double tokens_per_second = 0;  // generated after every stream's first token, over that time
  double prompt_tokens_per_second =
      0;                           // all prompts, over the time to the last stream's first token
  double first_token_seconds = 0;  // from the beginning to a stream's first token, mean
  double steady_tokens_per_second =
      0;                           // of these, until the first stream ended; 0 if some ended_early
  uint32_t ended_early = 0;        // streams that ended before the last one's first token
  double cached_prompt_share = 0;  // of prompt tokens, those that the prefix cache had
  double mean_depth = 0;           // block rows over ENTRY rows
  double rows_per_step = 0;        // block rows over steps
  uint64_t steps = 0;
  double step_seconds = 0;                         // the run's time over its steps
  std::array<double, kStepParts> stage_seconds{};  // of these, in each part: means over all steps
  std::array<double, kStepParts> attention_seconds{};  // of these, attention, if it is told apart
  double idle_share = 0;                               // of step_seconds, what no part took
  std::array<double, kStepParts> part_rows{};          // of a step, means
  uint64_t kv_bytes_peak = 0;                          // pages that hold entries
  uint64_t kv_bytes_reserved_peak = 0;
  std::vector<std::pair<std::string, uint64_t>> kv_bytes_peak_by_group;  // "entry", "1".., "exit"
  double flop_ratio = 0;       // FLOPs per token: vanilla twin's over this run's
  double bytes_per_token = 0;  // weights and entries that a token reads if it is alone in its steps
  // If the backend can say what the machine reaches: as measured before the run, and
  // tokens_per_second over what ComputeSize makes of it.
  std::optional<MachineRates> rates;
  double bound_share = 0;
  double ideal_ratio = 0;  // IdealRatio, of these rates
};

// All launches of a kernel for one part of a step.
struct KernelFigures {
  std::string name;
  StepPart part = kPartExit;
  double launches = 0;
  double bytes = 0, flops = 0;  // of all of them
};

// Whether the options fit the model. InvalidArgument names the flag, the value and the limit.
absl::Status CheckBench(const ModelConfig& config, const BenchOptions& options);

// A model and a backend, kept between runs. Not thread-safe.
class Bench {
 public:
  // Uses the builder up. InvalidArgument: CheckBench's; else what the builder says.
  static absl::StatusOr<std::unique_ptr<Bench>> Create(std::shared_ptr<const Model> model,
                                                       const BenchOptions& options,
                                                       BackendBuilder& builder);

  // Of the backend that it measures.
  const BackendFacts& facts() const { return facts_; }
  std::vector<MemoryPiece> device_memory() const { return backend_->DeviceMemoryPieces(); }
  std::vector<std::string> warnings() const { return backend_->Warnings(); }

  // What the kernels of a step of such a run move and compute, if the backend has kernels; its
  // rows see as many entries as they do in the middle of generating.
  std::vector<KernelFigures> CountKernels(const Measurement& m) const;

  // Of the runs from now on.
  void set_policy(const Policy& policy) { options_.policy = policy; }

  // Runs every stream from its prompt to its last token.
  absl::StatusOr<Measurement> Run();

 private:
  class Counter;  // of what the streams tell
  struct Totals;  // of steps

  Bench(std::shared_ptr<const Model> model, const BenchOptions& options, BackendFacts facts,
        const BackendLimits& limits, std::unique_ptr<MachineProbe> probe,
        std::unique_ptr<Backend> backend);

  absl::StatusOr<std::unique_ptr<Schedule>> MakeSchedule();
  absl::Status RunStreams(Schedule& schedule, Counter& counter, Totals& totals);
  void TellTimes(const Counter& counter, const Totals& totals, Measurement& m) const;
  void TellMemory(const ScheduleCounters& counters, Measurement& m) const;
  void TellBound(const ScheduleCounters& counters, Measurement& m) const;
  double Context() const;  // entries of a sequence in the middle of generating

  const std::shared_ptr<const Model> model_;
  BenchOptions options_;
  const BackendFacts facts_;
  const BackendLimits limits_;
  const std::unique_ptr<MachineProbe> probe_;  // or null
  const std::unique_ptr<Backend> backend_;
  std::optional<StageCosts> costs_;  // once they are measured
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_MEASUREMENT_H_
