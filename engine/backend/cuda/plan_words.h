// SPDX-License-Identifier: Apache-2.0
// A plan and a result as the words that travel between host and device.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_PLAN_WORDS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_PLAN_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/rows.h"
#include "engine/backend/step.h"
#include "engine/backend/step_sizes.h"

namespace recurve::cuda {

// A list among the words: from word `begin` on, `count` elements.
struct WordList {
  uint32_t begin = 0;
  uint32_t count = 0;
};

// Caps of one slot in a plan: `count` of PlanHeader::caps from `begin` on.
struct CapRun {
  uint32_t slot, begin, count;
};

// What a plan's words begin with. The lists follow in any order, each of the type of StepPlan's
// member of its name; caps are sorted by slot, and cap_runs says whose are whose.
struct PlanHeader {
  uint32_t epoch = 0;
  StepCaps caps_of_step;
  WordList drops, admits, evicts, copies, pages, tokens, caps, cap_runs, rooms, biases, stop_ids;
};
static_assert(std::is_trivially_copyable_v<PlanHeader>);
inline constexpr size_t kPlanHeaderWords = sizeof(PlanHeader) / sizeof(uint32_t);

// The most words of a plan within `limits`.
size_t MostPlanWords(const BackendLimits& limits);

// Writes plans as words. Thread-compatible.
class PlanWriter {
 public:
  // Writes `plan`, which is within the limits of `words` (MostPlanWords); returns how many words
  // that takes.
  size_t Write(const StepPlan& plan, std::span<uint32_t> words);

 private:
  std::vector<CapChange> caps_;  // of the plan at hand, sorted
  std::vector<CapRun> runs_;
};

// What a result's words begin with.
struct ResultHeader {
  uint32_t epoch = 0;
  uint32_t part_rows[kStepParts] = {};
  uint64_t stamps[kStepParts + 1] = {};  // device time, ns: where the parts begin, and the end
  // Elements of each list; ResultLayout says where it begins.
  uint32_t outcomes = 0, depths = 0, logprobs = 0, logits_rows = 0;
};
static_assert(std::is_trivially_copyable_v<ResultHeader> && sizeof(ResultHeader) % 8 == 0);

// Where a result's lists lie, each with space for the most that it can hold.
struct ResultLayout {
  uint32_t outcomes = 0, depths = 0, logprobs = 0, logits_rows = 0;  // first words
  uint32_t words = 0;                                                // in all
};
ResultLayout LayoutOfResult(const BackendLimits& limits);

// Fills in `result`, which is clear, but for the raw logits.
void ReadResult(std::span<const uint32_t> words, const ResultLayout& layout, StepResult& result);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_PLAN_WORDS_H_
