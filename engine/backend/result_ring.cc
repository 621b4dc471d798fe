// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/result_ring.h"

#include <utility>

#include "engine/backend/step_sizes.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {

absl::Status ResultRing::Fill(absl::FunctionRef<absl::Status(StepResult&)> step) {
  RETURN_IF_ERROR(status_);
  RECURVE_CHECK(size_ < kMost);
  StepResult& result = results_[(first_ + size_) % kMost];
  result.Clear();
  // The most that a step can report, so that only the first use of a result's memory allocates.
  const ResultSizes most = MostOfResult(limits_);
  result.outcomes.reserve(most.outcomes);
  result.depths.reserve(most.depths);
  result.logprobs.reserve(most.logprobs);
  status_ = step(result);
  if (status_.ok()) ++size_;
  return status_;
}

absl::Status ResultRing::Take(StepResult& result) {
  RETURN_IF_ERROR(status_);
  RECURVE_CHECK(size_ > 0);
  std::swap(result, results_[first_]);
  first_ = (first_ + 1) % kMost;
  --size_;
  return absl::OkStatus();
}

}  // namespace recurve
