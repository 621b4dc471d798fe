// SPDX-License-Identifier: Apache-2.0
// The backend that computes on the processor, inside Submit.
#ifndef RECURVE_ENGINE_BACKEND_CPU_CPU_BACKEND_H_
#define RECURVE_ENGINE_BACKEND_CPU_CPU_BACKEND_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/batch.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/backend/cpu/kv_pool.h"
#include "engine/backend/cpu/layer_runner.h"
#include "engine/backend/cpu/packed_model.h"
#include "engine/backend/cpu/router_stage.h"
#include "engine/backend/cpu/sampling_stage.h"
#include "engine/backend/cpu/thread_team.h"
#include "engine/backend/facts.h"
#include "engine/backend/precision.h"
#include "engine/backend/result_ring.h"
#include "engine/backend/selection.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"
#include "engine/model/weights.h"

namespace recurve {

struct CpuBackendOptions {
  BackendLimits limits;
  Precision precision = Precision::kBf16;     // of weights and activations between products
  Precision kv_precision = Precision::kBf16;  // of keys and values
  uint32_t threads = 1;                       // the thread that calls Submit included
  Isa isa = BestIsa();                        // one of SupportedIsas(); the bits are the same
};

// A row's results depend neither on the other rows of its step nor on threads or instruction set.
// Holds at most two results that have not been collected. After the first steps nothing is
// allocated. Thread-compatible.
class CpuBackend final : public Backend {
 public:
  // InvalidArgument names the limit that contradicts another or the model, or what of the model the
  // precision has no room for; RESOURCE_EXHAUSTED when
  // memory for weights, pages or activations is missing.
  static absl::StatusOr<std::unique_ptr<CpuBackend>> Create(std::shared_ptr<const Model> model,
                                                            const CpuBackendOptions& options);

  // What a backend with these options will be; their limits have no influence.
  static BackendFacts Describe(const Model& model, const CpuBackendOptions& options);

  absl::Status Submit(const StepPlan& plan) override;
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override { return results_.size(); }

 private:
  CpuBackend(const CpuBackendOptions& options, std::unique_ptr<ThreadTeam> team, PackedModel model,
             KvPool pool);
  absl::Status Allocate();

  absl::Status Step(const StepPlan& plan, StepResult& result);
  absl::Status RunExit(const StepPlan& plan, StepResult& result);
  absl::Status RunEntry(const StepPlan& plan, StepResult& result);
  absl::Status RunBlock(const StepPlan& plan, StepResult& result);
  absl::Status CheckPages(const std::vector<uint32_t>& slots, Stage stage) const;
  // What one thread does in each part of a step.
  void ExitRows(uint32_t thread);
  void EntryRows(uint32_t thread);
  void BlockLayers(uint32_t thread);
  void Sample(const std::vector<uint32_t>& slots, StepResult& result);

  const CpuBackendOptions options_;
  const std::unique_ptr<ThreadTeam> team_;
  const PackedModel model_;
  const Kernels& kernels_;
  KvPool pool_;
  SlotTable table_;
  Selection selection_;
  Batch batch_;
  Evictor evictor_;
  LayerRunner layers_;
  RouterStage router_;
  SamplingStage sampling_;
  Activations logits_;             // [ends][vocab]
  std::vector<uint8_t> passes_;    // [rows]: who takes the next recursion
  std::vector<Outcome> outcomes_;  // [slots], of the step that runs
  ResultRing results_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_CPU_BACKEND_H_
