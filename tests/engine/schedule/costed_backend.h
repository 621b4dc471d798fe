// SPDX-License-Identifier: Apache-2.0
// A backend whose steps take what a formula says, on a clock that tests set: the backend null with
// the times of a machine.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_COSTED_BACKEND_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_COSTED_BACKEND_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/base/status_macros.h"
#include "tests/engine/schedule/recorder.h"

namespace recurve {

// A stage reads its weights, however few rows it has, and computes for each row.
struct CostFormula {
  double block = 1e6;    // ns, for the weights of the block
  double ends = 1e6;     // for those of EXIT, head and ENTRY
  double row = 0.03;     // for a row, of what the weights take
  bool at_once = false;  // reading and computing go on at the same time: the longer one counts

  double Of(double weights, double rows) const {
    if (rows == 0) return 0;
    return at_once ? weights * std::max(1.0, row * rows) : weights * (1 + row * rows);
  }
};

class CostedBackend final : public Backend {
 public:
  // `clock` may be null.
  CostedBackend(std::shared_ptr<const Model> model, const BackendLimits& limits,
                const CostFormula& formula, FakeClock* clock)
      : backend_(MakeBackend(std::move(model), {.name = "null"}, limits).value()),
        formula_(formula),
        clock_(clock) {}

  absl::Status Submit(const StepPlan& plan) override { return backend_->Submit(plan); }
  absl::Status Collect(StepResult& result) override {
    RETURN_IF_ERROR(backend_->Collect(result));
    const double ends = formula_.ends;
    const double weights[kStepParts] = {ends / 10, ends * 8 / 10, ends / 10, formula_.block, 0};
    double all = 0;
    for (uint32_t part = 0; part < kStepParts; ++part) {
      const double ns = formula_.Of(weights[part], result.part_rows[part]);
      result.part_ns[part] = static_cast<uint64_t>(std::llround(ns));
      all += ns;
    }
    ++steps;
    rows += result.part_rows[kPartBlock];
    time += all;
    if (clock_ != nullptr) clock_->now += std::chrono::nanoseconds(std::llround(all));
    return absl::OkStatus();
  }
  uint32_t Outstanding() const override { return backend_->Outstanding(); }

  // Of all steps so far.
  uint64_t steps = 0;
  uint64_t rows = 0;  // of the block
  double time = 0;    // ns

 private:
  const std::unique_ptr<Backend> backend_;
  const CostFormula formula_;
  FakeClock* const clock_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_COSTED_BACKEND_H_
