// SPDX-License-Identifier: Apache-2.0
// A step as the kernels that make it up, in their order.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_STEP_KERNELS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_STEP_KERNELS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/device_model.h"
#include "engine/backend/cuda/device_state.h"
#include "engine/backend/cuda/hidden_rows.h"
#include "engine/backend/cuda/linear_f32.h"
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/router.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"

namespace recurve::cuda {

// What a plan makes of its step that the host decides.
struct StepWork {
  bool evicts = false;
  bool copies = false;
  bool ends = true;  // whether EXIT and ENTRY may run
};

// Launches steps. Borrows runtime, model and state. Thread-compatible.
class StepKernels {
 public:
  StepKernels(Runtime& runtime, const DeviceModel& model, const DeviceState& state);

  // From now on steps are replays of graphs, which are made here. Without it each kernel is
  // launched by itself, so that an error names it.
  absl::Status MakeGraphs();

  // One step of the plan that DeviceState::plan holds: EXIT, sampling, ENTRY, the block, routers.
  absl::Status Launch(const StepWork& work);

 private:
  // The parts of a step: its changes of pages, which few plans have, stand between the others.
  absl::Status RunAdmissions();
  absl::Status RunRows(bool ends);
  // A stage's rows through some layers.
  struct Pass {
    RowSet set;
    simt::In<Row> rows;
  };
  absl::Status ChangePages(const StepWork& work);
  absl::Status RunExit();
  absl::Status RunEntry();
  absl::Status RunBlock();
  absl::Status RunLayer(const DeviceLayer& layer, uint32_t index, const Pass& pass, RowSet queries);
  absl::Status Attend(const DeviceLayer& layer, uint32_t index, const Pass& pass, RowSet queries);
  absl::Status Load(RowSource source, const Pass& pass);
  ProductF32 ProductOf(const DeviceMatrix& matrix, const DeviceMemory& x, RowSet set,
                       const Pass& pass) const;
  NormF32 NormOf(const DeviceMatrix& gamma) const;
  RouterArgs MakeRouterArgs() const;

  Runtime& runtime_;
  const DeviceModel& model_;
  const DeviceState& state_;
  const TableSizes sizes_;
  const PlannerArgs planner_;
  const SlotTables<simt::In> slots_;
  const StepLists<simt::In> lists_;

  bool has_graphs_ = false;
  Runtime::Graph whole_[2] = {};  // by StepWork::ends: admissions and rows
  Runtime::Graph rows_[2] = {};   // rows alone
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_STEP_KERNELS_H_
