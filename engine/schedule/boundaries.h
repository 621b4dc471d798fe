// SPDX-License-Identifier: Apache-2.0
// Where sequences with a KV budget drop entries.
#ifndef RECURVE_ENGINE_SCHEDULE_BOUNDARIES_H_
#define RECURVE_ENGINE_SCHEDULE_BOUNDARIES_H_

#include <cstdint>

#include "engine/backend/step.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/schedule/plan_builder.h"
#include "engine/schedule/sequence.h"

namespace recurve {

// A sequence with a KV budget stops at each of its boundaries: its room is not raised past one
// until it waits there with nothing in flight. Then one plan drops entries and raises the room; if
// some of its pages are shared, plans before give it copies. So what a sequence keeps depends on
// nothing but the sequence.
//
// A plan's evictions are all chosen before any sequence gets copies. A sequence that gets copies
// lets go of the originals; their other owner is then alone with them, and must not drop entries
// from them in the plan that copies them.
//
// Borrows the slots' tables, which outlive it. Thread-compatible.
class Boundaries {
 public:
  Boundaries(const StepShape& shape, const EntriesPerPage& entries_per_page, PageTables* tables)
      : shape_(shape), entries_per_page_(entries_per_page), tables_(tables) {}

  // Whether the sequence of `stay` waits, with nothing in flight and nothing left to be told of its
  // pages, for entries to be dropped.
  bool IsAt(const Stay& stay) const;

  // Drops entries of a sequence that is at its boundary, which moves on; but not if it shares pages
  // that this would change: it must have copies first. Nor if the plan has no space.
  void DropEntries(Stay& stay, PlanBuilder& builder) const;

  // Gives it copies of those pages of `group` that it shares and that DropEntries would change, or
  // of as many as the plan has space for. False, and nothing changes: the pool lacks pages.
  [[nodiscard]] bool CopyShared(const Stay& stay, uint32_t group, PlanBuilder& builder) const;

 private:
  bool IsOverBudget(const Stay& stay, uint32_t group) const;
  // Whether nobody shares the pages that dropping entries would change.
  bool OwnsEntriesAlone(const Stay& stay) const;

  const StepShape shape_;
  const EntriesPerPage entries_per_page_;
  PageTables* const tables_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_BOUNDARIES_H_
