// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_CPU_LISTS_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_CPU_LISTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/batch.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/backend/selection.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"
#include "engine/kv/page_tables.h"

namespace recurve::cuda {

// What the CPU backend makes of a plan, without its numbers: its lists, and its result for what
// samplers and routers decide. Thread-compatible.
class CpuLists {
 public:
  CpuLists(const TableSizes& sizes, const BackendLimits& limits,
           const EntriesPerPage& entries_per_page);

  // In their order. Begin applies a plan and lists EXIT; Exited takes what became of each row with
  // logits and lists ENTRY and the block; RanBlock takes which rows of the block pass.
  absl::Status Begin(const StepPlan& plan);
  void Exited(const Verdict* verdicts, const TokenLogprob* logprobs, uint32_t row_logprobs);
  void RanBlock(const uint32_t* passes);

  const SlotTable& table() const { return table_; }
  bool ends_run() const { return ends_run_; }
  const std::vector<uint32_t>& exit_slots() const { return exit_slots_; }
  const std::vector<uint32_t>& block_slots() const { return block_slots_; }
  const Batch& exit() const { return exit_; }
  const Batch& entry() const { return entry_; }
  const Batch& block() const { return block_; }
  // Rows of the spans at EXIT, those without a place in its list too.
  uint32_t exit_span_rows() const { return exit_span_rows_; }
  const StepResult& result() const { return result_; }

 private:
  void Enter(const StepPlan& plan);

  const bool has_exit_layers_;
  const bool has_overlay_;
  SlotTable table_;
  Selection selection_;
  Batch exit_, entry_, block_;
  StepPlan plan_;  // of the step at hand, for its caps
  bool ends_run_ = false;
  uint32_t exit_span_rows_ = 0;
  std::vector<uint32_t> exit_slots_, block_slots_;
  std::vector<Outcome> outcomes_;  // [slots]
  StepResult result_;
};

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_CPU_LISTS_H_
