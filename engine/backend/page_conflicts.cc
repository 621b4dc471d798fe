// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/page_conflicts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

template <typename... Words>
absl::Status Conflict(const Words&... words) {
  return absl::InternalError(absl::StrCat("plan: ", words...));
}

}  // namespace

PageConflicts::PageConflicts(const StepShape& shape,
                             const std::array<uint32_t, kMaxGroups>& entries_per_page,
                             uint32_t pages)
    : shape_(shape), entries_per_page_(entries_per_page), uses_(pages) {}

PageConflicts::Change PageConflicts::ChangeOf(uint32_t page) const {
  return uses_[page].plan == plan_ ? uses_[page].change : Change::kNone;
}

uint32_t PageConflicts::PagesFor(uint32_t group, uint32_t entries) const {
  const uint32_t per_page = entries_per_page_[group];
  return per_page == 0 ? 0 : (entries + per_page - 1) / per_page;
}

std::span<const uint32_t> PageConflicts::PagesInUse(const Slot& slot, uint32_t group) const {
  const SlotState& state = slot.state;
  if (state.stage == Stage::kNone) return {};
  const uint32_t begun = state.position + state.rows;
  const uint32_t unstarted = std::max(slot.limits.room, begun) - begun;
  const uint32_t entries = state.count[group] + Pending(state, group, shape_) + unstarted;
  const size_t most = slot.pages[group].size();
  return std::span(slot.pages[group]).first(std::min<size_t>(PagesFor(group, entries), most));
}

absl::Status PageConflicts::CheckChanges(const StepPlan& plan, std::span<const Slot> slots) {
  if (plan.evicts.empty() && plan.copies.empty()) return absl::OkStatus();
  ++plan_;
  for (const Evict& evict : plan.evicts) RETURN_IF_ERROR(CheckEvict(evict, slots));
  if (!plan.evicts.empty()) RETURN_IF_ERROR(CheckOthers(slots));
  for (const PageCopy& copy : plan.copies) RETURN_IF_ERROR(CheckCopy(copy));
  for (const PageChange& change : plan.pages) RETURN_IF_ERROR(CheckPage(change));
  for (const PageCopy& copy : plan.copies) {
    if (ChangeOf(copy.to) == Change::kGiven) continue;
    return Conflict("page ", copy.to, ", a copy of page ", copy.from, ", goes to no slot");
  }
  return absl::OkStatus();
}

absl::Status PageConflicts::CheckOwners(const StepPlan& plan, std::span<const Slot> slots) const {
  const bool checked = !plan.evicts.empty() || !plan.copies.empty();
  return checked ? CheckOthers(slots) : absl::OkStatus();
}

absl::Status PageConflicts::CheckEvict(const Evict& evict, std::span<const Slot> slots) {
  const std::vector<uint32_t>& pages = slots[evict.slot].pages[evict.group];
  for (uint32_t index = 0; index < PagesFor(evict.group, evict.count); ++index) {
    if (index >= pages.size() || pages[index] == kNoPage) {
      return Conflict("slot ", evict.slot, " has no page ", index, " of group ", evict.group,
                      " to evict entries from");
    }
    const uint32_t page = pages[index];
    if (ChangeOf(page) != Change::kNone) {
      return Conflict("two evictions from page ", page, ", of slots ", uses_[page].slot, " and ",
                      evict.slot);
    }
    const bool stays = index < PagesFor(evict.group, evict.keep);
    uses_[page] = {plan_, evict.slot, evict.group, stays ? Change::kEvicted : Change::kEmptied};
  }
  return absl::OkStatus();
}

absl::Status PageConflicts::CheckOthers(std::span<const Slot> slots) const {
  for (uint32_t id = 0; id < slots.size(); ++id) {
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      for (const uint32_t page : PagesInUse(slots[id], group)) {
        if (page == kNoPage || ChangeOf(page) == Change::kNone) continue;
        const Use& use = uses_[page];
        if (use.slot == id && use.group == group) continue;
        return Conflict("slot ", id, " has page ", page,
                        use.change == Change::kGiven ? ", which is given to slot "
                                                     : ", which entries are evicted from for slot ",
                        use.slot);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status PageConflicts::CheckCopy(const PageCopy& copy) {
  const Change from = ChangeOf(copy.from);
  if (from == Change::kCopied) {
    return Conflict("page ", copy.from, ", itself a copy, is copied to page ", copy.to);
  }
  if (from != Change::kNone) {
    return Conflict("page ", copy.from, ", which slot ", uses_[copy.from].slot,
                    " evicts entries from, is copied to page ", copy.to);
  }
  const Change to = ChangeOf(copy.to);
  if (to == Change::kCopied) return Conflict("page ", copy.to, " becomes a copy twice");
  if (to == Change::kEvicted) {
    return Conflict("page ", copy.to, ", where slot ", uses_[copy.to].slot,
                    " keeps entries, becomes a copy of page ", copy.from);
  }
  uses_[copy.to] = {plan_, 0, 0, Change::kCopied};
  return absl::OkStatus();
}

absl::Status PageConflicts::CheckPage(const PageChange& change) {
  const uint32_t page = change.page;
  switch (ChangeOf(page)) {
    case Change::kNone:
      return absl::OkStatus();
    case Change::kEvicted:
      return Conflict("slot ", change.slot, " gets page ", page, ", where slot ", uses_[page].slot,
                      " keeps entries");
    case Change::kGiven:
      return Conflict("slots ", uses_[page].slot, " and ", change.slot, " get page ", page);
    case Change::kEmptied:
    case Change::kCopied:
      uses_[page] = {plan_, change.slot, change.group, Change::kGiven};
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace recurve
