// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ROW_BOUND_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ROW_BOUND_H_

#include <cstdint>
#include <vector>

#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"

namespace recurve::cuda {

// How many rows a step can have at most, as far as the host knows when it submits it: each admitted
// slot's longest span. A step's kernels are cut for it. Thread-compatible.
class RowBound {
 public:
  explicit RowBound(uint32_t slots) : slots_(slots) {}

  // Of the step of `plan`, which is submitted.
  uint32_t Submit(const StepPlan& plan);

  // The results of a step; `table` holds the slots as they are after it.
  void Collect(const StepResult& result, const SlotTable& table);

 private:
  struct SlotRows {
    uint32_t rows = 0;  // most of a span
    bool in_prompt = false;
    uint32_t since = 0;  // epoch of the plan that admitted it
  };

  std::vector<SlotRows> slots_;
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROW_BOUND_H_
