// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/slot_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

void SetTokenAt(Slot& slot, uint32_t position, uint32_t token) {
  slot.tokens[position % slot.tokens.size()] = token;
}

// `what` of slot `id` was `found`, but must be below `limit`.
absl::Status OutOfBounds(const char* what, uint32_t id, uint32_t found, uint32_t limit) {
  return absl::InternalError(
      absl::StrCat("plan: ", what, " of slot ", id, " is ", found, ", expected less than ", limit));
}

}  // namespace

SlotTable::SlotTable(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
                     const std::array<uint32_t, kMaxGroups>& entries_per_page)
    : shape_(shape),
      limits_(limits),
      vocab_size_(vocab_size),
      entries_per_page_(entries_per_page),
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
      const uint32_t entries = entries_per_page[group];
      if (entries > 0)
        slot.pages[group].resize((limits.max_positions + entries - 1) / entries, kNoPage);
    }
  }
}

absl::Status SlotTable::Apply(const StepPlan& plan, absl::FunctionRef<void(const Evict&)> evict) {
  for (const Drop& drop : plan.drops) {
    RETURN_IF_ERROR(CheckSlot("drop", drop.slot));
    slots_[drop.slot].state.stage = Stage::kNone;
  }
  for (const Admission& admission : plan.admits) RETURN_IF_ERROR(Admit(plan, admission));
  for (const Evict& command : plan.evicts) RETURN_IF_ERROR(CheckEvict(command));
  for (const PageCopy& copy : plan.copies) RETURN_IF_ERROR(CheckCopy(copy));
  for (const PageChange& change : plan.pages) RETURN_IF_ERROR(CheckPage(change));
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

absl::Status SlotTable::CheckSlot(const char* what, uint32_t id) const {
  if (id < slots_.size()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("plan: ", what, " names slot ", id, ", expected less than ", slots_.size()));
}

absl::Status SlotTable::CheckTokenIds(const StepPlan& plan, const Admission& admission) const {
  const uint32_t id = admission.slot;
  if (admission.bias_count > limits_.max_biases) {
    return OutOfBounds("bias_count", id, admission.bias_count, limits_.max_biases + 1);
  }
  if (admission.stop_count > limits_.max_stop_ids) {
    return OutOfBounds("stop_count", id, admission.stop_count, limits_.max_stop_ids + 1);
  }
  if (uint64_t{admission.bias_begin} + admission.bias_count > plan.biases.size() ||
      uint64_t{admission.stop_begin} + admission.stop_count > plan.stop_ids.size()) {
    return absl::InternalError(
        absl::StrCat("plan: biases or stop ids of slot ", id, " lie outside of the plan's lists"));
  }
  for (uint32_t i = 0; i < admission.bias_count; ++i) {
    const uint32_t token = plan.biases[admission.bias_begin + i].token;
    if (token >= vocab_size_) return OutOfBounds("a bias's token", id, token, vocab_size_);
  }
  for (uint32_t i = 0; i < admission.stop_count; ++i) {
    const uint32_t token = plan.stop_ids[admission.stop_begin + i];
    if (token >= vocab_size_) return OutOfBounds("a stop id", id, token, vocab_size_);
  }
  return absl::OkStatus();
}

absl::Status SlotTable::CheckAdmission(const StepPlan& plan, const Admission& admission) const {
  const uint32_t id = admission.slot;
  RETURN_IF_ERROR(CheckSlot("admission", id));
  const SlotState& state = admission.state;
  const SlotLimits& limits = admission.limits;
  if (slots_[id].state.stage != Stage::kNone) {
    return absl::InternalError(absl::StrCat("plan: admission to slot ", id, ", which is busy"));
  }
  if (state.stage != Stage::kEntry || state.rows != 0 || state.active != 0) {
    return absl::InternalError(absl::StrCat("plan: slot ", id, " is admitted at stage ",
                                            static_cast<uint32_t>(state.stage), " with ",
                                            state.rows, " rows, expected ENTRY with none"));
  }
  if (limits.chunk < 1 || limits.chunk > limits_.chunk) {
    return OutOfBounds("chunk - 1", id, limits.chunk - 1, limits_.chunk);
  }
  if ((admission.wants & kWantsPromptLogprobs) != 0 && limits.chunk > limits_.ends) {
    return OutOfBounds("chunk with prompt logprobs", id, limits.chunk, limits_.ends + 1);
  }
  if (limits.prompt < 1) return OutOfBounds("prompt - 1", id, limits.prompt - 1, kNoToken);
  RETURN_IF_ERROR(CheckRoom(id, state, limits.room));
  if (admission.logprobs != kNoLogprobs && admission.logprobs > limits_.max_logprobs) {
    return OutOfBounds("logprobs", id, admission.logprobs, limits_.max_logprobs + 1);
  }
  if (admission.area == kNoArea) {
    if (uint64_t{state.position} + 1 < limits.prompt) {
      return absl::InternalError(absl::StrCat("plan: slot ", id, " has no area for its prompt of ",
                                              limits.prompt - state.position, " tokens"));
    }
  } else if (admission.area >= limits_.areas) {
    return OutOfBounds("area", id, admission.area, limits_.areas);
  } else {
    for (uint32_t other = 0; other < slots_.size(); ++other) {
      const Slot& slot = slots_[other];
      if (slot.state.stage != Stage::kNone && InPrompt(slot) && slot.area == admission.area) {
        return absl::InternalError(absl::StrCat("plan: area ", admission.area, " of slot ", id,
                                                " is still lent to slot ", other));
      }
    }
  }
  return CheckTokenIds(plan, admission);
}

absl::Status SlotTable::CheckRoom(uint32_t id, const SlotState& state, uint32_t room) const {
  // One token more than rows: the one after the last, for its log probability.
  if (room >= state.position && room - state.position < limits_.max_positions) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("plan: room of slot ", id, " is ", room, ", expected ",
                                          state.position, " to less than ",
                                          uint64_t{state.position} + limits_.max_positions));
}

absl::Status SlotTable::Admit(const StepPlan& plan, const Admission& admission) {
  RETURN_IF_ERROR(CheckAdmission(plan, admission));
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
  RETURN_IF_ERROR(CheckSlot("an eviction", evict.slot));
  const Slot& slot = slots_[evict.slot];
  if (evict.group >= shape_.groups() || entries_per_page_[evict.group] == 0) {
    return OutOfBounds("an eviction's group", evict.slot, evict.group, shape_.groups());
  }
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

absl::Status SlotTable::CheckCopy(const PageCopy& copy) const {
  if (copy.from < limits_.pages && copy.to < limits_.pages && copy.from != copy.to) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("plan: copy of page ", copy.from, " to ", copy.to,
                                          ", expected two pages below ", limits_.pages));
}

absl::Status SlotTable::CheckPage(const PageChange& change) const {
  RETURN_IF_ERROR(CheckSlot("a page", change.slot));
  if (change.group >= shape_.groups()) {
    return OutOfBounds("a page's group", change.slot, change.group, shape_.groups());
  }
  const std::vector<uint32_t>& pages = slots_[change.slot].pages[change.group];
  if (change.index >= pages.size()) {
    return OutOfBounds("a page's index", change.slot, change.index,
                       static_cast<uint32_t>(pages.size()));
  }
  if (change.page >= limits_.pages) {
    return OutOfBounds("a page", change.slot, change.page, limits_.pages);
  }
  return absl::OkStatus();
}

absl::Status SlotTable::SetToken(const TokenChange& change) {
  RETURN_IF_ERROR(CheckSlot("a token", change.slot));
  const uint64_t history_end = uint64_t{slots_[change.slot].state.position} + limits_.max_positions;
  if (change.position >= history_end) {
    return OutOfBounds("a token's position", change.slot, change.position,
                       static_cast<uint32_t>(history_end));
  }
  if (change.token >= vocab_size_) {
    return OutOfBounds("a token", change.slot, change.token, vocab_size_);
  }
  SetTokenAt(slots_[change.slot], change.position, change.token);
  return absl::OkStatus();
}

absl::Status SlotTable::SetCap(const CapChange& change) {
  RETURN_IF_ERROR(CheckSlot("a cap", change.slot));
  Slot& slot = slots_[change.slot];
  if (change.cap < 1) return absl::InternalError("plan: a depth cap of 0, expected at least 1");
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
  RETURN_IF_ERROR(CheckSlot("a room", change.slot));
  RETURN_IF_ERROR(CheckRoom(change.slot, slots_[change.slot].state, change.room));
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

}  // namespace recurve
