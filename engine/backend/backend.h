// SPDX-License-Identifier: Apache-2.0
// What executes steps. The CPU backend computes inside Submit; a device backend queues the step and
// returns, so that one step runs while the next one waits.
#ifndef RECURVE_ENGINE_BACKEND_BACKEND_H_
#define RECURVE_ENGINE_BACKEND_BACKEND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/api/limits.h"
#include "engine/api/memory_piece.h"
#include "engine/backend/kernel_work.h"
#include "engine/backend/step.h"

namespace recurve {

// What a backend is dimensioned for, once, at its creation. The schedule keeps its plans within:
// `ends`, `block_rows` and `prompt_rows`, all filled in, are the upper bounds of StepPlan's.
struct BackendLimits : StepLimits {
  uint32_t pages = 1024;  // in the pool
  // Entries that one slot can hold in a group, and tokens that its history holds from the span in
  // flight on. A sequence whose budget bounds every group may go on to any position.
  uint32_t max_positions = 2048;
  uint32_t max_logprobs = 20;
  uint32_t max_biases = 1024;  // of one slot
  uint32_t max_stop_ids = 64;  // of one slot
  // Most changes of one kind in a plan; step_sizes.h says what follows from it. A page, a token of
  // the history and a depth cap are a change each, so a prefix of p tokens that was found, or a
  // sequence of p tokens that is resumed, takes some p / plan_changes plans until it runs.
  uint32_t plan_changes = 16'384;
};

// Thread-compatible: one thread calls Submit, Collect and Outstanding.
class Backend {
 public:
  virtual ~Backend() = default;

  // Accepts the next step. Changes take effect when the step runs, after those of all earlier
  // plans. `plan` may be reused once this returns. An error is final: the backend is broken.
  virtual absl::Status Submit(const StepPlan& plan) = 0;

  // Waits for the oldest outstanding step and moves its result into `result` (cleared first, its
  // memory reused). There must be one. An error is final.
  virtual absl::Status Collect(StepResult& result) = 0;

  // Steps submitted and not yet collected.
  virtual uint32_t Outstanding() const = 0;

  // The memory of a device that the backend has, which never changes; empty if it computes in the
  // host's.
  virtual std::vector<MemoryPiece> DeviceMemoryPieces() const { return {}; }

  // What its user should know of how it was made, a sentence each; mostly nothing.
  virtual std::vector<std::string> Warnings() const { return {}; }

  // The kernels of a step, if it is made of some; what few steps need as the mean of all so far.
  virtual std::vector<KernelWork> CountedKernels() const { return {}; }
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_BACKEND_H_
