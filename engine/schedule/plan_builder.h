// SPDX-License-Identifier: Apache-2.0
// The plan that is being made.
#ifndef RECURVE_ENGINE_SCHEDULE_PLAN_BUILDER_H_
#define RECURVE_ENGINE_SCHEDULE_PLAN_BUILDER_H_

#include <cstdint>

#include "engine/backend/backend.h"
#include "engine/backend/step.h"
#include "engine/backend/step_sizes.h"
#include "engine/kv/page_tables.h"
#include "engine/schedule/sequence.h"

namespace recurve {

// Puts into a plan what it says of each stay, as far as the plan has space (step_sizes.h); the next
// plan goes on from there. Thread-compatible.
class PlanBuilder {
 public:
  // Takes the memory of the largest plan.
  explicit PlanBuilder(const BackendLimits& limits);

  // Begins with an empty plan.
  void Begin(uint32_t epoch, uint32_t ends_min);

  StepPlan& plan() { return plan_; }
  const StepPlan& plan() const { return plan_; }

  // Whether the plan has space for the admission of `sequence`, and for `evictions` more.
  bool HasSpaceToAdmit(const Sequence& sequence) const;
  bool HasSpaceToEvict(uint32_t evictions) const {
    return plan_.evicts.size() + evictions <= most_.evicts;
  }
  // Whether TellUpTo has left anything to the next plan.
  bool is_full() const { return is_full_; }
  uint64_t most_pages() const { return most_.pages; }  // page changes in all

  // With the room that `stay` has.
  void Admit(const Stay& stay);

  // Tells what was not told yet of all that rows of `stay` below `room` need: its pages, given
  // tokens and depth caps. Whether that is complete now.
  bool TellUpTo(Stay& stay, uint32_t room, PageTables& tables);

  void RaiseRoom(Stay& stay, uint32_t room);

  // The sequence in `slot`, which this plan has given nothing but pages, leaves: its evictions,
  // pages and copies are not made.
  void TakeBack(uint32_t slot);

 private:
  // The given tokens up to `room`: those of the rows and, for prompt log probabilities, the one
  // after the last. All before them are told as well, since penalties count them.
  bool TellTokens(Stay& stay, uint32_t room);
  bool TellCaps(Stay& stay, uint32_t room);

  const BackendLimits limits_;
  const PlanSizes most_;
  StepPlan plan_;
  bool is_full_ = false;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_PLAN_BUILDER_H_
