// SPDX-License-Identifier: Apache-2.0
// How many prompt rows share steps with generated ones.
#ifndef RECURVE_ENGINE_SCHEDULE_PROMPT_BUDGET_H_
#define RECURVE_ENGINE_SCHEDULE_PROMPT_BUDGET_H_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "engine/backend/backend.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/stage_costs.h"

namespace recurve {

// While sequences generate, prompts in progress may have so many rows in flight that a step takes
// at most twice the time that it takes without them: so a stream's tokens come half as fast at
// worst while a prompt enters. All prompts in progress get equal parts, so that a short one passes
// a long one, and at least a row; all together at least four. While nobody generates there is no
// bound but the backend's.
//
// A plan says Begin, then Count for each prompt in progress, then asks for each in order of
// precedence. Thread-compatible.
class PromptBudget {
 public:
  static constexpr uint32_t kNoBound = std::numeric_limits<uint32_t>::max();

  PromptBudget(const StageCosts& costs, const BackendLimits& limits)
      : costs_(costs), block_rows_(limits.block_rows), prompt_rows_(limits.prompt_rows) {}

  // `generating` sequences generate.
  void Begin(uint32_t generating);

  // A prompt is in progress; a stay that has just begun is one too.
  void Count(const Stay& stay);

  // The rows that the prompt's next span may have.
  uint32_t RowsFor(const Stay& stay) const;

  // The prompt's room has been raised; `before`: RowsInFlight until then.
  void Took(const Stay& stay, uint32_t before) {
    left_ += int64_t{before} - int64_t{RowsInFlight(stay)};
  }

  // The rows of the span in flight, or of the one that its room lets begin: never both at once.
  static uint32_t RowsInFlight(const Stay& stay) {
    const uint32_t next = stay.state.position + stay.state.rows;
    return std::max(stay.state.rows, stay.limits.room - std::min(stay.limits.room, next));
  }

  // Of all prompts, in this plan; kNoBound if there is none.
  uint32_t rows() const { return rows_; }

 private:
  const StageCosts costs_;
  const uint32_t block_rows_;
  const uint32_t prompt_rows_;
  uint32_t rows_ = kNoBound;
  uint32_t prompts_ = 0;
  int64_t left_ = 0;  // of rows_; below 0 when more were in flight before sequences generated
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_PROMPT_BUDGET_H_
