// SPDX-License-Identifier: Apache-2.0
// How large plans and results can become: what a device backend keeps memory for.
#ifndef RECURVE_ENGINE_BACKEND_STEP_SIZES_H_
#define RECURVE_ENGINE_BACKEND_STEP_SIZES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve {

// Elements of each list of a plan.
struct PlanSizes {
  uint64_t drops = 0, admits = 0, evicts = 0, copies = 0, pages = 0, tokens = 0, caps = 0,
           rooms = 0, biases = 0, stop_ids = 0;
  uint64_t Words() const;  // of 32 bits, those of the plan's own caps included
};
PlanSizes SizesOf(const StepPlan& plan);

// The most that a plan may hold. All of it follows from the limits, whatever the sequences:
// - Lists that name a slot once, drops and rooms, have at most one element a slot.
// - Lists that name what a slot has, which may be as much as its whole history, have at most
//   limits.plan_changes elements; copies are among them because each comes with the page change
//   that gives the copy away. Of these, lists of which a slot needs several at once have space for
//   one slot's at least: evictions of all its groups, an admission's biases and stop ids.
//
// Whoever makes plans spreads what exceeds this over several. Nothing is refused, and nothing left
// out: a slot is held meanwhile. It is admitted with its room at its position, or keeps the room
// that it has, while plan after plan tells the pages, tokens and caps that rows below the next room
// need, in ascending order; the plan that tells the last of them raises the room. So what a backend
// has of a slot is whole up to its room at all times, and what is beyond it has no meaning yet.
// Copies and page changes of one page always share a plan (step.h); what is copied from stays owned
// until then. A slot that waits for its entries to be dropped waits for a plan with space for all
// of its evictions.
//
// One change of each kind a plan is enough to come to the end. The order of precedence says whose
// changes come first, and no slot waits for another's for ever, since each needs a finite number of
// them.
PlanSizes MostOfPlan(const BackendLimits& limits);

// Internal names the list, what it holds and the most that it may hold.
absl::Status CheckPlanSizes(const StepPlan& plan, const BackendLimits& limits);

// The same of a result, but for the logits that tests ask for. A step has an outcome a slot, a
// depth for each row of EXIT, and for each row with logits the log probabilities of its own token
// and the most likely ones.
struct ResultSizes {
  uint64_t outcomes = 0, depths = 0, logprobs = 0;
  uint64_t Words() const;  // those of the parts' times and rows included
};
ResultSizes SizesOf(const StepResult& result);
ResultSizes MostOfResult(const BackendLimits& limits);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_STEP_SIZES_H_
