// SPDX-License-Identifier: Apache-2.0
// Two backends that must agree, under whatever drives a backend.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_TWIN_BACKEND_H_
#define RECURVE_TESTS_ENGINE_BACKEND_TWIN_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve {

// The bits by which numbers of two backends are compared: those of a NaN are the hardware's own,
// and all are the same here.
uint32_t ComparedBits(float value);

// Where two results of one step differ, word for word but for their times, such as "slot 3: token
// is 7 and 8". Empty: nowhere.
std::string Difference(const StepResult& a, const StepResult& b);

// Submits each plan to two backends and compares their results. Collect returns the first one's;
// Internal names step, slot and field of the first difference. Thread-compatible.
class TwinBackend final : public Backend {
 public:
  TwinBackend(std::unique_ptr<Backend> first, std::unique_ptr<Backend> second);

  absl::Status Submit(const StepPlan& plan) override;
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override { return first_->Outstanding(); }

 private:
  const std::unique_ptr<Backend> first_;
  const std::unique_ptr<Backend> second_;
  StepResult second_result_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_TWIN_BACKEND_H_
