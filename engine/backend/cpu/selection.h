// SPDX-License-Identifier: Apache-2.0
// Which slots take part in a step: the rule that StepPlan states.
#ifndef RECURVE_ENGINE_BACKEND_CPU_SELECTION_H_
#define RECURVE_ENGINE_BACKEND_CPU_SELECTION_H_

#include <array>
#include <cstdint>
#include <vector>

#include "engine/backend/cpu/slot_table.h"
#include "engine/backend/step.h"

namespace recurve {

// Two lists a stage, one of generated rows and one of prompt spans, so that neither starves the
// other. Each takes slots in slot order from the first one it left out last time, until one does
// not fit. Slots that run nothing (held at their room) do not count. Thread-compatible.
class Selection {
 public:
  explicit Selection(uint32_t slots);

  // Whether EXIT, sampling and ENTRY run in this step: ends > 0, and at least ends_min rows wait
  // for EXIT or ENTRY or none waits for the block.
  static bool EndsRun(const SlotTable& table, const StepPlan& plan);

  // The slots of one stage, prompts' spans last; valid until the next call. Rows with logits, of
  // both kinds, share `ends` at EXIT: the kind that it refused last time goes first.
  const std::vector<uint32_t>& Exit(const SlotTable& table, const StepPlan& plan);
  const std::vector<uint32_t>& Entry(const SlotTable& table, const StepPlan& plan);
  const std::vector<uint32_t>& Block(const SlotTable& table, const StepPlan& plan);

 private:
  enum Kind : uint32_t { kGenerated, kPrompt };
  using Cursors = std::array<uint32_t, 2>;  // by kind: the slot to begin with

  // What is left of a stage's caps.
  struct Caps {
    uint32_t rows;
    uint32_t logits;
  };
  struct Need {
    bool waits;
    uint32_t rows;
    uint32_t logits;
  };

  static Need NeedOf(const Slot& slot, Stage stage);
  // Appends the chosen slots of one kind; false if one was left out for want of logits.
  bool Scan(const SlotTable& table, Stage stage, Kind kind, Caps& caps);

  std::array<Cursors, 4> cursors_ = {};  // by Stage
  Kind exit_first_ = kGenerated;
  std::vector<uint32_t> chosen_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_SELECTION_H_
