// SPDX-License-Identifier: Apache-2.0
// The backend's own account of its slots: what plans told it about each sequence, and how far each
// has come. Integers only; nothing here computes with activations.
#ifndef RECURVE_ENGINE_BACKEND_SLOT_TABLE_H_
#define RECURVE_ENGINE_BACKEND_SLOT_TABLE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/page_conflicts.h"
#include "engine/backend/plan_bounds.h"
#include "engine/backend/slot.h"
#include "engine/backend/step.h"

namespace recurve {

// Thread-compatible.
class SlotTable {
 public:
  // `entries_per_page`: by group, as PageEntries says.
  SlotTable(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
            const std::array<uint32_t, kMaxGroups>& entries_per_page);

  // Applies the changes of a plan in their order, and has `evict` move entries before each change
  // of a slot's count. Page copies are for the caller to carry out, afterwards. Internal names what
  // contradicts the limits, the model, the slot's state or another change of the plan; the table is
  // then broken.
  absl::Status Apply(const StepPlan& plan, absl::FunctionRef<void(const Evict&)> evict);

  const StepShape& shape() const { return shape_; }
  uint32_t entries_per_page(uint32_t group) const { return entries_per_page_[group]; }
  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }
  const Slot& slot(uint32_t id) const { return slots_[id]; }

  // The span of `id` passed EXIT. `token` is what was sampled, or kNoToken.
  void Exited(uint32_t id, uint32_t token, uint32_t flags);

  // A span of SpanRows rows of `id` passed ENTRY.
  void Entered(uint32_t id);

  // The active rows of `id` ran their recursion. passes [state.active] says which of them take the
  // next one.
  void RanBlock(uint32_t id, const uint8_t* passes);

  // What a step did to a slot, by its outcome alone: the three above for whoever only knows that.
  // Which of the span's rows are active, and how deep each has gone, is then not kept.
  void Take(const Outcome& outcome);

  // Internal if a page is missing for the `rows` entries that `id` appends to `group` next.
  absl::Status CheckPages(uint32_t id, uint32_t group, uint32_t rows) const;

 private:
  absl::Status Admit(const StepPlan& plan, const Admission& admission);
  absl::Status CheckAdmission(const Admission& admission) const;
  absl::Status CheckEvict(const Evict& evict) const;
  absl::Status SetToken(const TokenChange& change);
  absl::Status SetCap(const CapChange& change);
  // Internal if the slot's history does not reach to `position`, where `what` is.
  absl::Status CheckHistory(const char* what, uint32_t id, uint32_t position) const;
  absl::Status SetRoom(const RoomChange& change);

  const StepShape shape_;
  const BackendLimits limits_;
  const std::array<uint32_t, kMaxGroups> entries_per_page_;
  const PlanBounds bounds_;
  std::vector<Slot> slots_;
  PageConflicts conflicts_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_SLOT_TABLE_H_
