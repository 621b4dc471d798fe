// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/slot_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

void SetTokenAt(Slot& slot, uint32_t position, uint32_t token) {
  slot.tokens[position % slot.tokens.size()] = token;
}

}  // namespace

SlotTable::SlotTable(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
                     const std::array<uint32_t, kMaxGroups>& entries_per_page)
    : shape_(shape),
      limits_(limits),
      entries_per_page_(entries_per_page),
      bounds_(shape, limits, vocab_size, entries_per_page),
      slots_(limits.slots),
      conflicts_(shape, entries_per_page, limits.pages) {
  for (Slot& slot : slots_) {
    slot.biases.reserve(limits.max_biases);
    slot.stop_ids.reserve(limits.max_stop_ids);
    slot.tokens.resize(limits.max_positions, kNoToken);
    slot.active.reserve(limits.chunk);
    slot.row_depth.reserve(limits.chunk);
    slot.caps.reserve(limits.chunk);
    for (uint32_t group = 0; group < shape.groups(); ++group) {
      slot.pages[group].resize(bounds_.pages(group), kNoPage);
    }
  }
}

absl::Status SlotTable::Apply(const StepPlan& plan, absl::FunctionRef<void(const Evict&)> evict) {
  RETURN_IF_ERROR(bounds_.Check(plan));
  for (const Drop& drop : plan.drops) slots_[drop.slot].state.stage = Stage::kNone;
  for (const Admission& admission : plan.admits) RETURN_IF_ERROR(Admit(plan, admission));
  for (const Evict& command : plan.evicts) RETURN_IF_ERROR(CheckEvict(command));
  RETURN_IF_ERROR(conflicts_.CheckChanges(plan, slots_));
  for (const Evict& command : plan.evicts) {
    evict(command);
    slots_[command.slot].state.count[command.group] = command.keep;
  }
  for (const PageChange& change : plan.pages) {
    slots_[change.slot].pages[change.group][change.index] = change.page;
  }
  for (const TokenChange& change : plan.tokens) RETURN_IF_ERROR(SetToken(change));
  for (const CapChange& change : plan.caps) RETURN_IF_ERROR(SetCap(change));
  for (const RoomChange& change : plan.rooms) RETURN_IF_ERROR(SetRoom(change));
  return conflicts_.CheckOwners(plan, slots_);
}

absl::Status SlotTable::CheckAdmission(const Admission& admission) const {
  const uint32_t id = admission.slot;
  if (slots_[id].state.stage != Stage::kNone) {
    return absl::InternalError(absl::StrCat("plan: admission to slot ", id, ", which is busy"));
  }
  if (admission.area == kNoArea) return absl::OkStatus();
  for (uint32_t other = 0; other < slots_.size(); ++other) {
    const Slot& slot = slots_[other];
    if (slot.state.stage != Stage::kNone && InPrompt(slot) && slot.area == admission.area) {
      return absl::InternalError(absl::StrCat("plan: area ", admission.area, " of slot ", id,
                                              " is still lent to slot ", other));
    }
  }
  return absl::OkStatus();
}

absl::Status SlotTable::Admit(const StepPlan& plan, const Admission& admission) {
  RETURN_IF_ERROR(CheckAdmission(admission));
  Slot& slot = slots_[admission.slot];
  static_cast<SlotRecord&>(slot) = RecordOf(admission);
  const auto biases = plan.biases.begin() + admission.bias_begin;
  slot.biases.assign(biases, biases + admission.bias_count);
  const auto stops = plan.stop_ids.begin() + admission.stop_begin;
  slot.stop_ids.assign(stops, stops + admission.stop_count);
  std::fill(slot.tokens.begin(), slot.tokens.end(), kNoToken);
  for (std::vector<uint32_t>& pages : slot.pages) std::fill(pages.begin(), pages.end(), kNoPage);
  slot.caps.clear();
  slot.active.clear();
  slot.row_depth.clear();
  return absl::OkStatus();
}

absl::Status SlotTable::CheckEvict(const Evict& evict) const {
  const Slot& slot = slots_[evict.slot];
  if (slot.state.stage != Stage::kEntry || slot.state.position != slot.limits.room) {
    return absl::InternalError(
        absl::StrCat("plan: eviction from slot ", evict.slot, ", which does not wait at its room"));
  }
  const uint32_t count = slot.state.count[evict.group];
  if (slot.eviction == EvictionPolicy::kNone || evict.count != count || evict.keep < 1 ||
      evict.keep >= count) {
    return absl::InternalError(absl::StrCat("plan: slot ", evict.slot, " keeps ", evict.keep,
                                            " of ", evict.count, " entries of group ", evict.group,
                                            ", of which it holds ", count));
  }
  return absl::OkStatus();
}

absl::Status SlotTable::CheckHistory(const char* what, uint32_t id, uint32_t position) const {
  const uint64_t end = uint64_t{slots_[id].state.position} + limits_.max_positions;
  if (position < end) return absl::OkStatus();
  return OutOfBounds(what, id, position, static_cast<uint32_t>(end));
}

absl::Status SlotTable::SetToken(const TokenChange& change) {
  RETURN_IF_ERROR(CheckHistory("a token's position", change.slot, change.position));
  SetTokenAt(slots_[change.slot], change.position, change.token);
  return absl::OkStatus();
}

absl::Status SlotTable::SetCap(const CapChange& change) {
  RETURN_IF_ERROR(CheckHistory("a cap's position", change.slot, change.position));
  Slot& slot = slots_[change.slot];
  const auto later = [&change](const DepthCap& c) { return c.position >= change.position; };
  std::erase_if(slot.caps, later);
  // Of the caps at or before the span in flight only the last one still has a meaning.
  size_t past = 0;
  while (past + 1 < slot.caps.size() && slot.caps[past + 1].position <= slot.state.position) ++past;
  slot.caps.erase(slot.caps.begin(), slot.caps.begin() + static_cast<std::ptrdiff_t>(past));
  slot.caps.push_back({change.position, change.cap});
  return absl::OkStatus();
}

absl::Status SlotTable::SetRoom(const RoomChange& change) {
  RETURN_IF_ERROR(CheckRoom(limits_, change.slot, slots_[change.slot].state.position, change.room));
  slots_[change.slot].limits.room = change.room;
  return absl::OkStatus();
}

absl::Status SlotTable::CheckPages(uint32_t id, uint32_t group, uint32_t rows) const {
  const uint32_t per_page = entries_per_page_[group];
  if (per_page == 0 || rows == 0) return absl::OkStatus();
  const Slot& slot = slots_[id];
  const uint32_t first = slot.state.count[group];
  if (first + rows > limits_.max_positions) {
    return OutOfBounds("number of entries", id, first + rows, limits_.max_positions + 1);
  }
  for (uint32_t index = first / per_page; index <= (first + rows - 1) / per_page; ++index) {
    if (index >= slot.pages[group].size() || slot.pages[group][index] == kNoPage) {
      return absl::InternalError(absl::StrCat("plan: slot ", id, " has no page ", index,
                                              " of group ", group, " for entries ", first, "..",
                                              first + rows - 1));
    }
  }
  return absl::OkStatus();
}

void SlotTable::Exited(uint32_t id, uint32_t token, uint32_t flags) {
  Slot& slot = slots_[id];
  RECURVE_CHECK(slot.state.stage == Stage::kExit);
  const uint32_t next = slot.state.position + slot.state.rows;
  // The span's own tokens are forgotten, since no later step reads them: where one does by mistake,
  // the missing token is noticed.
  for (uint32_t position = slot.state.position; position < next; ++position) {
    SetTokenAt(slot, position, kNoToken);
  }
  if (token != kNoToken) SetTokenAt(slot, next, token);
  Outcome outcome;
  outcome.ran = kRanExit;
  outcome.flags = flags;
  slot.state = Resolve(slot.state, outcome, slot.limits, shape_);
}

void SlotTable::Entered(uint32_t id) {
  Slot& slot = slots_[id];
  Outcome outcome;
  outcome.ran = kRanEntry;
  outcome.rows = SpanRows(slot.state, slot.limits);
  RECURVE_CHECK(slot.state.stage == Stage::kEntry && outcome.rows > 0);
  slot.state = Resolve(slot.state, outcome, slot.limits, shape_);
  slot.active.clear();
  for (uint32_t row = 0; row < outcome.rows; ++row) slot.active.push_back(row);
  slot.row_depth.assign(outcome.rows, 0);
}

void SlotTable::RanBlock(uint32_t id, const uint8_t* passes) {
  Slot& slot = slots_[id];
  RECURVE_CHECK(slot.state.stage == Stage::kBlock);
  Outcome outcome;
  outcome.ran = kRanBlock;
  for (uint32_t i = 0; i < slot.state.active; ++i) {
    const uint32_t row = slot.active[i];
    ++slot.row_depth[row];
    if (passes[i] != 0) slot.active[outcome.active++] = row;
  }
  slot.active.resize(outcome.active);
  slot.state = Resolve(slot.state, outcome, slot.limits, shape_);
}

void SlotTable::Take(const Outcome& outcome) {
  if ((outcome.ran & kRanExit) != 0) Exited(outcome.slot, outcome.token, outcome.flags);
  if ((outcome.ran & kRanEntry) != 0) Entered(outcome.slot);
  if ((outcome.ran & kRanBlock) != 0) {
    Slot& slot = slots_[outcome.slot];
    Outcome ran;
    ran.ran = kRanBlock;
    ran.active = outcome.active;
    slot.state = Resolve(slot.state, ran, slot.limits, shape_);
  }
}

}  // namespace recurve
