// SPDX-License-Identifier: Apache-2.0
// The fake backend's side of what step.h says about one page in two changes of a plan.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/schedule/fake_backend.h"

namespace recurve {

uint32_t FakeBackend::EntriesByRoom(const Slot& slot, uint32_t group) const {
  const SlotState& state = slot.state;
  const uint32_t begun = state.position + state.rows;
  const uint32_t room = std::max(slot.admission.limits.room, begun);
  return state.count[group] + Pending(state, group, model_.shape) + room - begun;
}

std::span<const uint32_t> FakeBackend::PagesOf(const Slot& slot, uint32_t group,
                                               uint32_t entries) const {
  const std::vector<uint32_t>& table = slot.tables[group];
  const uint32_t per_page = entries_per_page_[group];
  if (per_page == 0) return {};
  const size_t pages = (size_t{entries} + per_page - 1) / per_page;
  return std::span(table).first(std::min(pages, table.size()));
}

void FakeBackend::CheckEviction(const Evict& evict) {
  if (fault_ == FakeFault::kRefusesNothing || !IsOwned(evict.slot, "eviction")) return;
  Check(evict.group < model_.shape.groups(), "eviction from a group that does not exist");
  if (!violation_.empty()) return;
  const auto pages = PagesOf(slots_[evict.slot], evict.group, evict.count);
  const size_t kept = PagesOf(slots_[evict.slot], evict.group, evict.keep).size();
  for (size_t i = 0; i < pages.size(); ++i) {
    Check(changes_[pages[i]] == Change::kNone,
          absl::StrCat("two evictions from page ", pages[i], " of slot ", evict.slot));
    changes_[pages[i]] = i < kept ? Change::kEvicted : Change::kEmptied;
  }
  for (uint32_t other = 0; other < slots_.size(); ++other) {
    if (slots_[other].state.stage == Stage::kNone) continue;
    for (uint32_t group = 0; group < model_.shape.groups(); ++group) {
      if (other == evict.slot && group == evict.group) continue;
      const auto theirs = PagesOf(slots_[other], group, EntriesByRoom(slots_[other], group));
      const auto shared =
          std::find_first_of(theirs.begin(), theirs.end(), pages.begin(), pages.end());
      if (shared == theirs.end()) continue;
      Check(false, absl::StrCat("eviction from page ", *shared, " of slot ", evict.slot,
                                ", which slot ", other, " has too"));
    }
  }
}

void FakeBackend::CheckCopy(const PageCopy& copy) {
  Check(copy.from < pages_.size() && copy.to < pages_.size() && copy.from != copy.to,
        absl::StrCat("odd copy of page ", copy.from, " to ", copy.to));
  if (!violation_.empty() || fault_ == FakeFault::kRefusesNothing) return;
  Check(changes_[copy.from] == Change::kNone,
        absl::StrCat("copy of page ", copy.from, " to ", copy.to,
                     " after an eviction from it or a copy to it"));
  Change& change = changes_[copy.to];
  Check(change == Change::kNone || change == Change::kEmptied,
        absl::StrCat("copy of page ", copy.from, " to ", copy.to,
                     ", which an eviction or a copy has written"));
  change = Change::kCopied;
}

void FakeBackend::CheckChange(const PageChange& change) {
  if (fault_ == FakeFault::kRefusesNothing) return;
  Change& page = changes_[change.page];
  Check(page != Change::kEvicted, absl::StrCat("page ", change.page, " goes to slot ", change.slot,
                                               " though another evicts entries from it"));
  Check(page != Change::kGiven, absl::StrCat("page ", change.page, " goes to slot ", change.slot,
                                             " and to another as a copy"));
  if (page == Change::kCopied) page = Change::kGiven;
}

// Of the pages that slots have, up to their rooms, those that several have are full in all of them
// and untouched by the plan.
void FakeBackend::CheckOwners() {
  if (fault_ == FakeFault::kRefusesNothing || !violation_.empty()) return;
  for (uint32_t page = 0; page < pages_.size(); ++page) {
    Check(changes_[page] != Change::kCopied, absl::StrCat("no slot gets the copy in page ", page));
  }
  struct Owner {
    uint32_t slot;
    bool full;
  };
  std::vector<std::optional<Owner>> owners(pages_.size());
  for (uint32_t id = 0; id < slots_.size(); ++id) {
    const Slot& slot = slots_[id];
    if (slot.state.stage == Stage::kNone) continue;
    for (uint32_t group = 0; group < model_.shape.groups(); ++group) {
      const auto pages = PagesOf(slot, group, EntriesByRoom(slot, group));
      for (size_t i = 0; i < pages.size(); ++i) {
        std::optional<Owner>& owner = owners[pages[i]];
        const bool full = (i + 1) * entries_per_page_[group] <= slot.state.count[group];
        const bool shareable = full && changes_[pages[i]] == Change::kNone;
        Check(!owner.has_value() || (shareable && owner->full),
              absl::StrCat("slots ", owner.value_or(Owner()).slot, " and ", id, " have page ",
                           pages[i], ", which one of them or this plan writes"));
        owner = Owner{id, full};
      }
    }
  }
}

}  // namespace recurve
