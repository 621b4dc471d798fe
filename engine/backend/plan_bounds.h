// SPDX-License-Identifier: Apache-2.0
// What a plan may say whatever the slots' states: ids and numbers within the limits.
#ifndef RECURVE_ENGINE_BACKEND_PLAN_BOUNDS_H_
#define RECURVE_ENGINE_BACKEND_PLAN_BOUNDS_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"

namespace recurve {

// A backend that queues steps checks this much when a plan comes, so that nothing of the plan can
// lead outside of its tables. Immutable; thread-safe.
class PlanBounds {
 public:
  // `entries_per_page`: by group, as PageEntries says.
  PlanBounds(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
             const std::array<uint32_t, kMaxGroups>& entries_per_page);

  // Internal names what is out of bounds, its value and the bound.
  absl::Status Check(const StepPlan& plan) const;

  // Pages that a slot can have in `group`.
  uint32_t pages(uint32_t group) const { return pages_[group]; }

 private:
  absl::Status CheckCaps(const StepPlan& plan) const;
  absl::Status CheckSlot(const char* what, uint32_t id) const;
  absl::Status CheckAdmission(const StepPlan& plan, const Admission& admission) const;
  absl::Status CheckTokenIds(const StepPlan& plan, const Admission& admission) const;
  absl::Status CheckEvict(const Evict& evict) const;
  absl::Status CheckCopy(const PageCopy& copy) const;
  absl::Status CheckPage(const PageChange& change) const;
  absl::Status CheckToken(const TokenChange& change) const;
  absl::Status CheckCap(const CapChange& change) const;

  const StepShape shape_;
  const BackendLimits limits_;
  const uint32_t vocab_size_;
  std::array<uint32_t, kMaxGroups> pages_ = {};  // by group; 0: it has none
};

// `what` of slot `id` was `found`, but must be below `limit`: Internal.
absl::Status OutOfBounds(const char* what, uint32_t id, uint32_t found, uint32_t limit);

// Whether a slot that stands at `position` may have `room`: Internal if not.
absl::Status CheckRoom(const BackendLimits& limits, uint32_t id, uint32_t position, uint32_t room);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_PLAN_BOUNDS_H_
