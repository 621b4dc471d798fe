// SPDX-License-Identifier: Apache-2.0
// All that a backend answers, in one number.
#ifndef RECURVE_TOOLS_GPU_CHECK_BACKEND_STEP_DIGEST_H_
#define RECURVE_TOOLS_GPU_CHECK_BACKEND_STEP_DIGEST_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve::gpu_check {

// Of results one after the other: every word but times.
struct StepDigest {
  void Add(const StepResult& result);
  void AddWord(uint64_t word);
  std::string Text() const;  // 16 digits of base 16

  uint64_t value = 0;
  uint64_t steps = 0;
};

// Adds each result of a backend to a digest, which outlives it. Thread-compatible.
class DigestedBackend final : public Backend {
 public:
  DigestedBackend(std::unique_ptr<Backend> backend, StepDigest& digest);

  absl::Status Submit(const StepPlan& plan) override { return backend_->Submit(plan); }
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override { return backend_->Outstanding(); }

 private:
  const std::unique_ptr<Backend> backend_;
  StepDigest& digest_;
};

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_BACKEND_STEP_DIGEST_H_
