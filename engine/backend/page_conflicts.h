// SPDX-License-Identifier: Apache-2.0
// Finds what step.h forbids: two changes of one plan that contradict each other about a page.
#ifndef RECURVE_ENGINE_BACKEND_PAGE_CONFLICTS_H_
#define RECURVE_ENGINE_BACKEND_PAGE_CONFLICTS_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/slot.h"
#include "engine/backend/step.h"

namespace recurve {

// Costs nothing but for plans that evict or copy, and then no more than a look at each page in a
// table. Allocates only when it is made. Thread-compatible.
class PageConflicts {
 public:
  // For a pool of `pages` pages; entries_per_page: by group.
  PageConflicts(const StepShape& shape, const std::array<uint32_t, kMaxGroups>& entries_per_page,
                uint32_t pages);

  // Before the evictions, copies and pages of `plan`, each of which is in order by itself, and
  // after its drops and admissions. Internal names the pages and slots.
  absl::Status CheckChanges(const StepPlan& plan, std::span<const Slot> slots);

  // After all changes of the plan that was checked last: no page that it has changed for one slot
  // is in use by another.
  absl::Status CheckOwners(const StepPlan& plan, std::span<const Slot> slots) const;

 private:
  enum class Change : uint8_t { kNone, kEvicted, kEmptied, kCopied, kGiven };
  // What the plan has done to a page, and for whom.
  struct Use {
    uint64_t plan = 0;  // an older one: nothing
    uint32_t slot = 0;
    uint32_t group = 0;
    Change change = Change::kNone;
  };

  Change ChangeOf(uint32_t page) const;
  absl::Status CheckEvict(const Evict& evict, std::span<const Slot> slots);
  absl::Status CheckOthers(std::span<const Slot> slots) const;
  absl::Status CheckCopy(const PageCopy& copy);
  absl::Status CheckPage(const PageChange& change);
  uint32_t PagesFor(uint32_t group, uint32_t entries) const;
  // The pages that the slot has for what it holds and may come to hold in `group` by its room.
  std::span<const uint32_t> PagesInUse(const Slot& slot, uint32_t group) const;

  const StepShape shape_;
  const std::array<uint32_t, kMaxGroups> entries_per_page_;
  std::vector<Use> uses_;  // [pages]
  uint64_t plan_ = 0;      // plans checked
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_PAGE_CONFLICTS_H_
