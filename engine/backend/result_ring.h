// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_RESULT_RING_H_
#define RECURVE_ENGINE_BACKEND_RESULT_RING_H_

#include <array>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve {

// What stands between Submit and Collect of a backend that has computed a step when Submit returns:
// at most kMost results that have not been collected, and the first error, which is final.
// Allocates while results are first used. Thread-compatible.
class ResultRing {
 public:
  static constexpr uint32_t kMost = 2;

  // `limits` say what a result has space for.
  explicit ResultRing(const BackendLimits& limits) : limits_(limits) {}

  // Has `step` fill the next result, which is empty. There must be less than kMost.
  absl::Status Fill(absl::FunctionRef<absl::Status(StepResult&)> step);

  // Gives away the oldest result, for memory to be used again. There must be one.
  absl::Status Take(StepResult& result);

  uint32_t size() const { return size_; }

 private:
  const BackendLimits limits_;
  absl::Status status_;  // the first error; final
  std::array<StepResult, kMost> results_;
  uint32_t first_ = 0, size_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_RESULT_RING_H_
