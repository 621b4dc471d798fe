// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_FAKE_DEVICE_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_FAKE_DEVICE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_state.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/backend/step.h"
#include "engine/kv/page_tables.h"
#include "tests/engine/backend/cuda/fake_rows.h"
#include "tests/engine/schedule/fake_model.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {

// An emulated device with the backend's planner, evictions and page copies, whose rows FakeModel
// runs. The parts of a step are called one by one, so that a test can look between them. Borrows
// the model. Thread-compatible.
class FakeDevice {
 public:
  // `overlay`: rows are listed as for a model with updated shared KV. `seed`: of the emulator.
  static absl::StatusOr<std::unique_ptr<FakeDevice>> Create(const FakeModel& model,
                                                            const BackendLimits& limits,
                                                            const EntriesPerPage& entries_per_page,
                                                            bool overlay, uint64_t seed);

  // From now on one row with logits in `broken` is not finite.
  void BreakRows(uint32_t broken) { rows_.broken = broken; }

  // In their order: a step's plan, drops, admissions and changes of pages; the planner up to EXIT;
  // EXIT; the planner up to the block; ENTRY and the block; the result.
  absl::Status Begin(const StepPlan& plan);
  absl::Status PlanExit() { return LaunchPlanExit(runtime_, planner_); }
  absl::Status RunExit() { return LaunchFakeExit(runtime_, rows_); }
  absl::Status PlanBlock();
  absl::Status RunRows();
  absl::Status Publish(StepResult& result);

  const TableSizes& sizes() const { return state_.step.sizes; }
  const StepMemory& memory() const { return state_.step; }
  // What the model has decided, as the planner reads it.
  const Verdict* verdicts() const { return HostOf<Verdict>(memory().verdicts); }
  const TokenLogprob* logprobs() const { return HostOf<TokenLogprob>(state_.logprobs); }
  uint32_t row_logprobs() const { return state_.row_logprobs; }
  const float* logits() const { return HostOf<float>(state_.logits); }
  const uint32_t* passes() const { return HostOf<uint32_t>(memory().passes); }

  // The cap that each row of the block had.
  const std::vector<uint32_t>& caps() const { return caps_; }
  const FakeHistory& history() const { return history_; }

  // The emulated device's memory is the host's.
  template <typename T>
  static const T* HostOf(const DeviceMemory& memory) {
    return reinterpret_cast<const T*>(memory.data);
  }

 private:
  FakeDevice(const FakeModel& model, const BackendLimits& limits, uint64_t seed);
  absl::Status Allocate(const EntriesPerPage& entries_per_page, bool overlay);
  TableSizes MakeSizes(const EntriesPerPage& entries_per_page, bool overlay) const;
  void MakeArgs();
  absl::Status RunEvictions(const StepPlan& plan);
  void Remember(const StepPlan& plan);

  const FakeModel& model_;
  const BackendLimits limits_;
  EmulatedRuntime runtime_;
  DeviceState state_;  // but for what a model's layers need
  DeviceMemory hidden_;
  PlannerArgs planner_;
  FakeRowsArgs rows_;
  PlanWriter writer_;
  std::vector<uint32_t> words_;
  FakeHistory history_;
  std::vector<uint32_t> caps_;
  uint32_t epoch_ = 0;  // of the step at hand
};

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_FAKE_DEVICE_H_
