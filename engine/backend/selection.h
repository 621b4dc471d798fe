// SPDX-License-Identifier: Apache-2.0
// Which slots take part in a step: the rule that StepPlan states, over the slot table.
#ifndef RECURVE_ENGINE_BACKEND_SELECTION_H_
#define RECURVE_ENGINE_BACKEND_SELECTION_H_

#include <cstdint>
#include <vector>

#include "engine/backend/rows.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"

namespace recurve {

// Thread-compatible.
class Selection {
 public:
  explicit Selection(uint32_t slots);

  // Whether EXIT, sampling and ENTRY run in this step.
  static bool EndsRun(const SlotTable& table, const StepPlan& plan);

  // The slots of one stage, one list after the other; valid until the next call.
  const std::vector<uint32_t>& Exit(const SlotTable& table, const StepPlan& plan);
  const std::vector<uint32_t>& Entry(const SlotTable& table, const StepPlan& plan);
  const std::vector<uint32_t>& Block(const SlotTable& table, const StepPlan& plan);

 private:
  // Makes both lists of a stage, that of `first` first. False if the second one left a slot out for
  // want of logits.
  bool Choose(const SlotTable& table, const StepPlan& plan, Stage stage, RowKind first);
  // Appends the slots of one list and takes them from `left`; false if one was left out for want of
  // logits.
  bool Scan(const SlotTable& table, Stage stage, RowKind kind, RowCounts& left);

  SelectionState state_;
  std::vector<uint32_t> chosen_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_SELECTION_H_
