// SPDX-License-Identifier: Apache-2.0
// The fake backend's side of a plan's changes: what a plan may say is checked here.
#include <algorithm>
#include <string>

#include "engine/backend/eviction.h"
#include "tests/engine/schedule/fake_backend.h"

namespace recurve {

void FakeBackend::Check(bool condition, const std::string& what) {
  if (!condition && violation_.empty()) violation_ = what;
}

bool FakeBackend::IsOwned(uint32_t slot, const char* change) {
  const bool owned = slot < slots_.size() && slots_[slot].owned;
  Check(owned, std::string(change) + " for slot " + std::to_string(slot) + ", which is free");
  return owned;
}

void FakeBackend::Apply(const StepPlan& plan) {
  if (fault_ != FakeFault::kDropsLast) ApplyDrops(plan);
  for (const Admission& admission : plan.admits) ApplyAdmission(plan, admission);
  std::fill(changes_.begin(), changes_.end(), Change::kNone);
  for (const Evict& evict : plan.evicts) CheckEviction(evict);
  for (const PageCopy& copy : plan.copies) CheckCopy(copy);
  if (fault_ == FakeFault::kCopiesFirst) ApplyCopies(plan);
  ApplyEvictions(plan);
  if (fault_ != FakeFault::kCopiesFirst) ApplyCopies(plan);
  ApplyPages(plan);
  ApplyTokensCapsRooms(plan);
  CheckOwners();
  if (fault_ == FakeFault::kDropsLast) ApplyDrops(plan);
}

void FakeBackend::ApplyDrops(const StepPlan& plan) {
  for (const Drop& drop : plan.drops) {
    if (!IsOwned(drop.slot, "drop")) continue;
    slots_[drop.slot].owned = false;
    slots_[drop.slot].state = SlotState();
  }
}

void FakeBackend::ApplyAdmission(const StepPlan& plan, const Admission& admission) {
  const SlotLimits& limits = admission.limits;
  Check(admission.slot < slots_.size(), "admission to a slot that does not exist");
  if (!violation_.empty()) return;
  Slot& slot = slots_[admission.slot];
  Check(slot.state.stage == Stage::kNone, "admission to a slot that is at work");
  Check(admission.state.stage == Stage::kEntry, "admission at another stage than ENTRY");
  Check(limits.prompt >= 1 && limits.end >= 1, "admission with odd limits");
  Check(limits.room >= admission.state.position && limits.room <= limits.end &&
            limits.room - admission.state.position < limits_.max_positions,
        "admission with an odd room");
  Check(limits.chunk >= 1 && limits.chunk <= limits_.chunk, "admission with an odd chunk");
  Check((admission.wants & kWantsPromptLogprobs) == 0 || limits.chunk <= limits_.ends,
        "chunk with prompt log probabilities is larger than ends");
  Check(admission.area != kNoArea || admission.state.position + 1 >= limits.prompt,
        "prompt without an area");
  Check(admission.area == kNoArea || admission.area < limits_.areas, "area does not exist");
  slot = Slot();
  slot.owned = true;
  slot.state = admission.state;
  slot.admission = admission;
  const auto biases = plan.biases.begin() + admission.bias_begin;
  slot.biases.assign(biases, biases + admission.bias_count);
  const auto stop_ids = plan.stop_ids.begin() + admission.stop_begin;
  slot.stop_ids.assign(stop_ids, stop_ids + admission.stop_count);
  slot.history.assign(limits.end + 2, kNoToken);
}

void FakeBackend::ApplyEvictions(const StepPlan& plan) {
  for (const Evict& evict : plan.evicts) {
    if (!IsOwned(evict.slot, "eviction")) continue;
    Slot& slot = slots_[evict.slot];
    const Admission& admission = slot.admission;
    uint32_t& count = slot.state.count[evict.group];
    Check(slot.state.stage == Stage::kEntry && slot.state.position == admission.limits.room,
          "eviction from a slot that does not wait at its room");
    Check(evict.count == count && evict.keep >= 1 && evict.keep < count, "odd eviction");
    if (!violation_.empty()) return;
    std::vector<uint32_t> positions;
    std::vector<uint64_t> scores;
    const EvictionRule rule =
        RuleFor({admission.eviction, admission.sinks, admission.recent}, evict.group, model_.shape);
    const bool by_mass = rule.policy == EvictionPolicy::kAttention;
    for (uint32_t i = 0; i < count; ++i) {
      const FakeEntry& entry = *EntryAt(slot, evict.group, i);
      positions.push_back(entry.position);
      scores.push_back(by_mass ? entry.mass : entry.score);
    }
    Eviction eviction(count);
    for (const EntryMove& move : eviction.Choose(rule, evict.keep, positions, scores)) {
      *EntryAt(slot, evict.group, move.to) = *EntryAt(slot, evict.group, move.from);
    }
    count = evict.keep;
  }
}

void FakeBackend::ApplyCopies(const StepPlan& plan) {
  if (!violation_.empty() || fault_ == FakeFault::kIgnoresCopies) return;
  std::vector<PageCopy> copies = plan.copies;
  if (fault_ == FakeFault::kCopiesBackwards) std::reverse(copies.begin(), copies.end());
  for (const PageCopy& copy : copies) pages_[copy.to] = pages_[copy.from];
}

void FakeBackend::ApplyPages(const StepPlan& plan) {
  for (const PageChange& change : plan.pages) {
    if (!IsOwned(change.slot, "page")) continue;
    Check(change.group < model_.shape.groups() && entries_per_page_[change.group] > 0,
          "page for a group without layers");
    Check(change.page < pages_.size(), "page does not exist");
    if (!violation_.empty()) return;
    CheckChange(change);
    std::vector<uint32_t>& table = slots_[change.slot].tables[change.group];
    Check(change.index <= table.size(), "page leaves a hole in its table");
    if (!violation_.empty()) return;
    if (change.index == table.size()) table.push_back(0);
    table[change.index] = change.page;
    // Of an adopted prefix the entries are there. Whoever else needs what was in the page will
    // notice.
    const uint32_t held = slots_[change.slot].state.count[change.group];
    if (change.index * entries_per_page_[change.group] < held) continue;
    for (FakeEntry& entry : pages_[change.page]) entry = {random_(), kNoToken};
  }
}

void FakeBackend::ApplyTokensCapsRooms(const StepPlan& plan) {
  for (const TokenChange& change : plan.tokens) {
    if (!IsOwned(change.slot, "token")) continue;
    Slot& slot = slots_[change.slot];
    Check(change.position < slot.history.size() &&
              change.position < uint64_t{slot.state.position} + limits_.max_positions,
          "token beyond the history");
    if (!violation_.empty()) return;
    slot.history[change.position] = change.token;
  }
  for (const CapChange& change : plan.caps) {
    if (!IsOwned(change.slot, "cap")) continue;
    Slot& slot = slots_[change.slot];
    Check(change.position < uint64_t{slot.state.position} + limits_.max_positions,
          "cap beyond the history");
    // A slot admitted by this very plan has had no room before it.
    const auto is_new = [&change](const Admission& a) { return a.slot == change.slot; };
    Check(change.position >= slot.admission.limits.room ||
              std::any_of(plan.admits.begin(), plan.admits.end(), is_new),
          "cap below the slot's room");
    slot.caps.push_back(change);
  }
  for (const RoomChange& change : plan.rooms) {
    if (!IsOwned(change.slot, "room")) continue;
    SlotLimits& limits = slots_[change.slot].admission.limits;
    Check(change.room > limits.room && change.room <= limits.end &&
              change.room - slots_[change.slot].state.position < limits_.max_positions,
          "odd room");
    limits.room = change.room;
  }
}

}  // namespace recurve
