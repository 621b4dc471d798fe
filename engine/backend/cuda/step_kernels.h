// SPDX-License-Identifier: Apache-2.0
// A step as the kernels that make it up, in their order.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_STEP_KERNELS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_STEP_KERNELS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/cuda/device_model.h"
#include "engine/backend/cuda/device_state.h"
#include "engine/backend/cuda/hidden_rows.h"
#include "engine/backend/cuda/layers.h"
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/router.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/kernel_work.h"

namespace recurve::cuda {

// What a plan makes of its step that the host decides.
struct StepWork {
  std::span<const Evict> evicts;
  size_t copies = 0;
  bool ends = true;   // whether EXIT and ENTRY may run
  uint32_t rows = 0;  // most of a stage
};

// Launches steps. Borrows runtime, model and state. Thread-compatible.
class StepKernels {
 public:
  StepKernels(Runtime& runtime, const DeviceModel& model, const DeviceState& state,
              const LayerOptions& options);

  // Launches every kernel once: a driver loads them at their first use, which must not fall into
  // the making of a graph. The plan should be empty.
  absl::Status WarmUp();

  // Of a step, from WarmUp on: those that every step has, then those of changes of pages, as the
  // mean over all steps launched so far.
  std::vector<KernelWork> CountedKernels() const;

  // From now on steps are replays of graphs, which are made here. Without it each kernel is
  // launched by itself, so that an error names it.
  absl::Status MakeGraphs();

  // One step of the plan that DeviceState::plan holds: EXIT, sampling, ENTRY, the block, routers.
  absl::Status Launch(const StepWork& work);

  // Rows for which the kernels of such a step are cut.
  uint32_t CutFor(const StepWork& work) const { return RowsOf(BucketOf(work.rows)); }

 private:
  // Rows for which kernels are cut, by bucket; the last one takes all.
  static constexpr uint32_t kBuckets = 6;
  uint32_t RowsOf(uint32_t bucket) const;
  uint32_t BucketOf(uint32_t rows) const;

  // The parts of a step: its changes of pages, which few plans have, stand between the others.
  absl::Status RunAdmissions();
  absl::Status RunRows(bool ends, uint32_t most_rows);
  absl::Status ChangePages(const StepWork& work);
  absl::Status RunEvictions(std::span<const Evict> evicts);
  absl::Status RunCopies(size_t copies);
  absl::Status RunExit(uint32_t most_rows);
  absl::Status RunEntry(uint32_t most_rows);
  absl::Status RunBlock(uint32_t most_rows);
  using LayerList = std::vector<const DeviceLayer*>;
  absl::Status RunLayers(RowSource source, const Pass& pass, const LayerList& layers);
  RouterArgs MakeRouterArgs() const;

  Runtime& runtime_;
  const DeviceModel& model_;
  const DeviceState& state_;
  const TableSizes sizes_;
  const PlannerArgs planner_;
  const SlotTables<simt::In> slots_;
  const StepLists<simt::In> lists_;

  const std::unique_ptr<Layers> layers_;
  LayerList entry_, block_, exit_;  // in the order in which rows pass them

  const bool has_library_;
  std::vector<KernelWork> counted_;       // of every step
  std::vector<KernelWork> page_changes_;  // of all steps launched so far
  uint64_t steps_ = 0;                    // launched so far
  bool has_graphs_ = false;
  // By StepWork::ends and bucket: admissions and rows, and rows alone.
  Runtime::Graph whole_[2][kBuckets] = {};
  Runtime::Graph rows_[2][kBuckets] = {};
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_STEP_KERNELS_H_
