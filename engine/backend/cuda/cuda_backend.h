// SPDX-License-Identifier: Apache-2.0
// The backend that computes on a device. Submit queues a step's kernels and returns.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H_
#define RECURVE_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/device_model.h"
#include "engine/backend/cuda/device_state.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/cuda/planner.h"
#include "engine/backend/cuda/row_bound.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/step_kernels.h"
#include "engine/backend/cuda/step_replay.h"
#include "engine/backend/facts.h"
#include "engine/backend/precision.h"
#include "engine/backend/step.h"
#include "engine/model/weights.h"

namespace recurve::cuda {

struct CudaBackendOptions {
  BackendLimits limits;
  Precision precision = Precision::kBf16;
  bool eager =
      false;  // each kernel by itself instead of graphs: slow, but an error names the kernel
  bool overlap = true;  // kernels may begin before the one before them has ended
  // Kernels are cut for so many rows at least, which changes no bit.
  uint32_t least_rows = 0;
  // Products of so many rows and more are made by the device's library, faster, with bits that
  // depend on it; 0: none. If the library is not there, ours make them, and Warnings says so.
  uint32_t library_rows = 0;
  // A step that has not come back after this long never will.
  std::chrono::milliseconds step_timeout{30000};
};

// A device that holds all but the pages.
struct PreparedDevice {
  uint32_t library_rows = 0;  // as CudaBackendOptions has it; 0 where the library is not there
  std::vector<std::string> warnings;
  std::unique_ptr<Runtime> runtime;
  DeviceModel model;
  DeviceState state;
};

// In f32: results equal the CPU backend's, word for word but for times. Holds at most two steps.
// Thread-compatible.
class CudaBackend final : public Backend {
 public:
  // Owns the runtime. InvalidArgument names the limit that contradicts another or the model;
  // ResourceExhausted when the device's memory does not hold what the limits ask for.
  static absl::StatusOr<std::unique_ptr<CudaBackend>> Create(std::shared_ptr<const Model> model,
                                                             const CudaBackendOptions& options,
                                                             std::unique_ptr<Runtime> runtime);

  // The same in two steps. The first allocates all but the pages, whatever limits.pages says; the
  // second, with options that differ in limits.pages alone, the pages.
  static absl::StatusOr<PreparedDevice> Prepare(std::shared_ptr<const Model> model,
                                                const CudaBackendOptions& options,
                                                std::unique_ptr<Runtime> runtime);
  static absl::StatusOr<std::unique_ptr<CudaBackend>> Create(PreparedDevice device,
                                                             const CudaBackendOptions& options);

  // What a backend on this device will be.
  static BackendFacts Describe(const Model& model, const CudaBackendOptions& options,
                               const DeviceFacts& device);

  absl::Status Submit(const StepPlan& plan) override;
  // Unavailable once the oldest step has taken longer than the timeout.
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override { return outstanding_; }
  std::vector<std::string> Warnings() const override { return warnings_; }
  std::vector<MemoryPiece> DeviceMemoryPieces() const override { return runtime_->allocated(); }
  std::vector<KernelWork> CountedKernels() const override { return kernels_.CountedKernels(); }

 private:
  CudaBackend(PreparedDevice device, const CudaBackendOptions& options);
  absl::Status WarmUp();
  absl::Status Queue(const StepPlan& plan);
  absl::Status Launch(const StepPlan& plan);
  absl::Status Send(const StepPlan& plan);
  absl::Status WaitFor(uint32_t epoch);
  absl::Status InStep(uint32_t epoch, const absl::Status& status) const;
  absl::Status Finish(StepResult& result);
  absl::Status ReadRawLogits(StepResult& result);

  const CudaBackendOptions options_;
  const std::vector<std::string> warnings_;
  const std::unique_ptr<Runtime> runtime_;
  const DeviceModel model_;
  const DeviceState state_;
  StepKernels kernels_;
  PlanWriter writer_;
  StepReplay replay_;
  RowBound row_bound_;
  std::array<uint32_t, kMostOutstanding> cut_for_ = {};  // rows, of each step; for messages
  absl::Status status_;                                  // the first error; final
  uint32_t last_epoch_ = 0;
  uint32_t outstanding_ = 0;
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H_
