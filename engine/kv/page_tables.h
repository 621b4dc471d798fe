// SPDX-License-Identifier: Apache-2.0
// Which pages each slot holds in each cache group. A group's table is compact: it has entries only
// for the tokens that were active in the group, in position order, so the groups of one slot need
// different numbers of pages.
//
// How many pages a slot needs is bounded without knowing what the routers will say. With the state
// that the host has committed, whatever steps are outstanding, group g of a slot never holds more
// entries than
//     count[g] + Pending(g) + (room - position - rows)
// what it holds now, what the span in flight may still append, and one entry for each token that
// may start below `room`. The bound falls when a row is let go early, so the same formula says
// which pages the survivors did not need.
//
// What a table holds and what a backend has been told of it are two things: a plan has space for so
// many changes, and the rest is told in later ones.
#ifndef RECURVE_ENGINE_KV_PAGE_TABLES_H_
#define RECURVE_ENGINE_KV_PAGE_TABLES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/step.h"
#include "engine/kv/budget.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/prefix_cache.h"

namespace recurve {

// Pages that hold `entries` entries of a group whose pages hold `per_page` each; none for a group
// without entries (0).
constexpr uint64_t PagesForEntries(uint64_t entries, uint32_t per_page) {
  return per_page == 0 ? 0 : (entries + per_page - 1) / per_page;
}

// The most pages that a sequence with this budget can need on its way to `tokens` tokens, if all of
// them are active in every group.
uint64_t PagesForTokens(uint32_t tokens, const KvBudget& budget,
                        const EntriesPerPage& entries_per_page);

// Borrows the pool, which outlives it and which others may share. Thread-compatible.
class PageTables {
 public:
  PageTables(PagePool* pool, uint32_t slots, const StepShape& shape,
             const EntriesPerPage& entries_per_page);
  PageTables(const PageTables&) = delete;
  PageTables& operator=(const PageTables&) = delete;

  // Has Extend and Trim leave `slot` the pages of PagesFor(tokens, budget), whatever the bound
  // says, until Release. Nothing changes yet.
  void Reserve(uint32_t slot, uint32_t tokens, const KvBudget& budget);

  // Has the tables of `slot` grow to so many entries in each group without allocating.
  void TakeMemory(uint32_t slot, uint32_t entries);

  // Gives every group of `slot` the pages of the bound above. False, and nothing changes, when the
  // pool lacks pages.
  [[nodiscard]] bool Extend(uint32_t slot, const SlotState& state, uint32_t room);

  // Gives every group of `slot`, which has none yet, pages with the entries of `prefix`: full pages
  // are shared with their other owners, the rest is copied. False, and nothing changes, when the
  // pool lacks pages for the copies. What is copied from stays owned until Tell has told of the
  // copy.
  [[nodiscard]] bool Adopt(uint32_t slot, const CachedPrefix& prefix);

  // Appends the changes of `slot` that were not told yet, in the order of each table, until
  // `changes` holds `most`; each copy with the change that gives its page to the slot. Whether all
  // have been told now.
  bool Tell(uint32_t slot, size_t most, std::vector<PageCopy>& copies,
            std::vector<PageChange>& changes);
  bool IsTold(uint32_t slot) const;  // all of them

  // Whether `slot` is the only owner of the pages of its first `entries` entries in `group`.
  bool OwnsAlone(uint32_t slot, uint32_t group, uint32_t entries) const;

  // Makes `slot` the only owner of these pages: it gets copies of those that it shares. Appends the
  // changes until `changes` holds `most`; then some are left. False, and nothing changes, when the
  // pool lacks pages. All of the slot's changes have been told before.
  [[nodiscard]] bool CopyShared(uint32_t slot, uint32_t group, uint32_t entries, size_t most,
                                std::vector<PageCopy>& copies, std::vector<PageChange>& changes);

  // Returns the pages beyond the bound. `room` must not be below the slot's own.
  void Trim(uint32_t slot, const SlotState& state, uint32_t room);

  // Returns all pages of `slot`.
  void Release(uint32_t slot);

  // PagesForEntries and PagesForTokens of these tables' groups.
  uint32_t GroupPagesFor(uint32_t group, uint32_t entries) const {
    return static_cast<uint32_t>(PagesForEntries(entries, entries_per_page_[group]));
  }
  uint32_t PagesFor(uint32_t tokens, const KvBudget& budget) const {
    return static_cast<uint32_t>(PagesForTokens(tokens, budget, entries_per_page_));
  }
  // The most pages that `slot`, whose request has this budget, lacks on its way to `room`.
  uint32_t PagesLacking(uint32_t slot, const SlotState& state, uint32_t room,
                        const KvBudget& budget) const;

  // The pages of one group of a slot, in table order.
  std::span<const uint32_t> pages(uint32_t slot, uint32_t group) const {
    return TableOf(slot, group).pages;
  }
  // Pages that `slot` holds in all groups and shares with no other slot.
  uint32_t own_pages(uint32_t slot) const;
  // Pages that all slots together hold in `group`, reserved ones included; those that n slots share
  // count n times.
  uint32_t group_pages(uint32_t group) const { return group_pages_[group]; }

 private:
  struct Table {
    std::vector<uint32_t> pages;
    uint32_t told = 0;  // of these, the first ones
    // The page that the adopted one at `copy` must become a copy of, until that has been told.
    std::optional<uint32_t> copied_from;
    uint32_t copy = 0;
  };
  Table& TableOf(uint32_t slot, uint32_t group) { return tables_[slot * shape_.groups() + group]; }
  const Table& TableOf(uint32_t slot, uint32_t group) const {
    return tables_[slot * shape_.groups() + group];
  }
  // The bound above: entries.
  uint32_t Bound(uint32_t group, const SlotState& state, uint32_t room) const;
  // Pages that `group` needs by it, or has reserved.
  uint32_t Needed(uint32_t slot, uint32_t group, const SlotState& state, uint32_t room) const;

  PagePool* const pool_;
  const StepShape shape_;
  const EntriesPerPage entries_per_page_;
  std::vector<Table> tables_;                               // [slots * groups]
  std::vector<std::array<uint32_t, kMaxGroups>> reserved_;  // [slots]: entries
  std::array<uint32_t, kMaxGroups> group_pages_{};
  // Of CopyShared, which so allocates nothing: indices of shared pages, and those in their places.
  std::vector<uint32_t> shared_, own_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_KV_PAGE_TABLES_H_
