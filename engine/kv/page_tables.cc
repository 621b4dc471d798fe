// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/page_tables.h"

#include <algorithm>

#include "engine/base/check.h"

namespace recurve {

uint64_t PagesForTokens(uint32_t tokens, const KvBudget& budget,
                        const EntriesPerPage& entries_per_page) {
  uint64_t pages = 0;
  for (uint32_t group = 0; group < entries_per_page.size(); ++group) {
    pages += PagesForEntries(budget.MostEntries(group, tokens), entries_per_page[group]);
  }
  return pages;
}

PageTables::PageTables(PagePool* pool, uint32_t slots, const StepShape& shape,
                       const EntriesPerPage& entries_per_page)
    : pool_(pool),
      shape_(shape),
      entries_per_page_(entries_per_page),
      tables_(size_t{slots} * shape.groups()),
      reserved_(slots) {}

void PageTables::Reserve(uint32_t slot, uint32_t tokens, const KvBudget& budget) {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    reserved_[slot][group] = budget.MostEntries(group, tokens);
  }
}

void PageTables::TakeMemory(uint32_t slot, uint32_t entries) {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    TableOf(slot, group).pages.reserve(GroupPagesFor(group, entries));
  }
}

uint32_t PageTables::own_pages(uint32_t slot) const {
  uint32_t own = 0;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    for (const uint32_t page : pages(slot, group)) own += pool_->of_one_sequence(page) ? 1 : 0;
  }
  return own;
}

uint32_t PageTables::Bound(uint32_t group, const SlotState& state, uint32_t room) const {
  RECURVE_CHECK(room >= state.position + state.rows);
  const uint32_t unstarted = room - state.position - state.rows;
  return state.count[group] + Pending(state, group, shape_) + unstarted;
}

uint32_t PageTables::Needed(uint32_t slot, uint32_t group, const SlotState& state,
                            uint32_t room) const {
  return GroupPagesFor(group, std::max(Bound(group, state, room), reserved_[slot][group]));
}

uint32_t PageTables::PagesLacking(uint32_t slot, const SlotState& state, uint32_t room,
                                  const KvBudget& budget) const {
  uint32_t lacking = 0;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    const uint32_t entries = std::min(Bound(group, state, room), budget.MostEntries(group, room));
    const uint32_t needed = GroupPagesFor(group, entries);
    const auto held = static_cast<uint32_t>(pages(slot, group).size());
    lacking += needed - std::min(needed, held);
  }
  return lacking;
}

bool PageTables::Extend(uint32_t slot, const SlotState& state, uint32_t room) {
  std::array<uint32_t, kMaxGroups> missing{};
  uint32_t total = 0;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    const uint32_t needed = Needed(slot, group, state, room);
    const uint32_t held = static_cast<uint32_t>(pages(slot, group).size());
    missing[group] = needed > held ? needed - held : 0;
    total += missing[group];
  }
  if (total > pool_->free()) return false;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    RECURVE_CHECK(pool_->Allocate(missing[group], TableOf(slot, group).pages));
    group_pages_[group] += missing[group];
  }
  return true;
}

bool PageTables::Adopt(uint32_t slot, const CachedPrefix& prefix) {
  std::array<uint32_t, kMaxGroups> full{};
  uint32_t partial = 0;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    RECURVE_CHECK(pages(slot, group).empty());
    if (entries_per_page_[group] == 0) continue;
    full[group] = prefix.count[group] / entries_per_page_[group];
    partial += static_cast<uint32_t>(prefix.pages[group].size()) - full[group];
  }
  if (partial > pool_->free()) return false;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    const std::span<const uint32_t> found = prefix.pages[group];
    Table& table = TableOf(slot, group);
    pool_->Share(found);
    table.pages.assign(found.begin(), found.begin() + full[group]);
    if (full[group] < found.size()) {
      RECURVE_CHECK(pool_->Allocate(1, table.pages));
      table.copied_from = found.back();
      table.copy = full[group];
    }
    group_pages_[group] += static_cast<uint32_t>(table.pages.size());
  }
  return true;
}

bool PageTables::Tell(uint32_t slot, size_t most, std::vector<PageCopy>& copies,
                      std::vector<PageChange>& changes) {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    Table& table = TableOf(slot, group);
    for (; table.told < table.pages.size(); ++table.told) {
      if (changes.size() >= most) return false;
      const uint32_t page = table.pages[table.told];
      if (table.copied_from.has_value() && table.told == table.copy) {
        copies.push_back({*table.copied_from, page});
        pool_->Free(std::span(&*table.copied_from, 1));
        table.copied_from.reset();
      }
      changes.push_back({slot, group, table.told, page});
    }
  }
  return true;
}

bool PageTables::IsTold(uint32_t slot) const {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (TableOf(slot, group).told < pages(slot, group).size()) return false;
  }
  return true;
}

bool PageTables::OwnsAlone(uint32_t slot, uint32_t group, uint32_t entries) const {
  const auto pages_of_entries = pages(slot, group).first(GroupPagesFor(group, entries));
  return std::none_of(pages_of_entries.begin(), pages_of_entries.end(),
                      [this](uint32_t page) { return pool_->shared(page); });
}

bool PageTables::CopyShared(uint32_t slot, uint32_t group, uint32_t entries, size_t most,
                            std::vector<PageCopy>& copies, std::vector<PageChange>& changes) {
  RECURVE_CHECK(IsTold(slot));
  std::vector<uint32_t>& table = TableOf(slot, group).pages;
  shared_.clear();
  for (uint32_t index = 0; index < GroupPagesFor(group, entries); ++index) {
    if (changes.size() + shared_.size() >= most) break;
    if (pool_->shared(table[index])) shared_.push_back(index);
  }
  own_.clear();
  if (!pool_->Allocate(static_cast<uint32_t>(shared_.size()), own_)) return false;
  for (size_t i = 0; i < shared_.size(); ++i) {
    uint32_t& page = table[shared_[i]];
    copies.push_back({page, own_[i]});
    changes.push_back({slot, group, shared_[i], own_[i]});
    pool_->Free(std::span(&page, 1));
    page = own_[i];
  }
  return true;
}

void PageTables::Trim(uint32_t slot, const SlotState& state, uint32_t room) {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    Table& table = TableOf(slot, group);
    const uint32_t needed = Needed(slot, group, state, room);
    if (table.pages.size() <= needed) continue;
    group_pages_[group] -= static_cast<uint32_t>(table.pages.size()) - needed;
    pool_->Free(std::span(table.pages).subspan(needed));
    table.pages.resize(needed);
    table.told = std::min(table.told, needed);
  }
}

void PageTables::Release(uint32_t slot) {
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    Table& table = TableOf(slot, group);
    group_pages_[group] -= static_cast<uint32_t>(table.pages.size());
    pool_->Free(table.pages);
    if (table.copied_from.has_value()) pool_->Free(std::span(&*table.copied_from, 1));
    table.copied_from.reset();
    table.pages.clear();
    table.told = 0;
  }
  reserved_[slot] = {};
}

}  // namespace recurve
