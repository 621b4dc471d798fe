// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_STEP_STATISTICS_H_
#define RECURVE_ENGINE_STEP_STATISTICS_H_

#include "engine/api/snapshot.h"
#include "engine/backend/step.h"

namespace recurve {

// What the steps cost and did, added up since the start. Thread-compatible.
class StepStatistics {
 public:
  StepStatistics();

  void Add(const StepResult& result);

  const StepTotals& totals() const { return totals_; }

 private:
  StepTotals totals_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_STEP_STATISTICS_H_
