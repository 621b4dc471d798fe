// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/plan_bounds.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/step_sizes.h"
#include "engine/base/status_macros.h"

namespace recurve {

absl::Status OutOfBounds(const char* what, uint32_t id, uint32_t found, uint32_t limit) {
  return absl::InternalError(
      absl::StrCat("plan: ", what, " of slot ", id, " is ", found, ", expected less than ", limit));
}

absl::Status CheckRoom(const BackendLimits& limits, uint32_t id, uint32_t position, uint32_t room) {
  // One token more than rows: the one after the last, for its log probability.
  if (room >= position && room - position < limits.max_positions) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("plan: room of slot ", id, " is ", room, ", expected ",
                                          position, " to less than ",
                                          uint64_t{position} + limits.max_positions));
}

PlanBounds::PlanBounds(const StepShape& shape, const BackendLimits& limits, uint32_t vocab_size,
                       const std::array<uint32_t, kMaxGroups>& entries_per_page)
    : shape_(shape), limits_(limits), vocab_size_(vocab_size) {
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    const uint32_t entries = entries_per_page[group];
    if (entries > 0) pages_[group] = (limits.max_positions + entries - 1) / entries;
  }
}

absl::Status PlanBounds::Check(const StepPlan& plan) const {
  RETURN_IF_ERROR(CheckCaps(plan));
  RETURN_IF_ERROR(CheckPlanSizes(plan, limits_));
  for (const Drop& drop : plan.drops) RETURN_IF_ERROR(CheckSlot("drop", drop.slot));
  for (const Admission& admission : plan.admits) RETURN_IF_ERROR(CheckAdmission(plan, admission));
  for (const Evict& evict : plan.evicts) RETURN_IF_ERROR(CheckEvict(evict));
  for (const PageCopy& copy : plan.copies) RETURN_IF_ERROR(CheckCopy(copy));
  for (const PageChange& change : plan.pages) RETURN_IF_ERROR(CheckPage(change));
  for (const TokenChange& change : plan.tokens) RETURN_IF_ERROR(CheckToken(change));
  for (const CapChange& change : plan.caps) RETURN_IF_ERROR(CheckCap(change));
  for (const RoomChange& change : plan.rooms) RETURN_IF_ERROR(CheckSlot("a room", change.slot));
  return absl::OkStatus();
}

absl::Status PlanBounds::CheckCaps(const StepPlan& plan) const {
  const struct {
    const char* name;
    uint32_t found, limit;
  } caps[] = {{"ends", plan.ends, limits_.ends},
              {"block_rows", plan.block_rows, limits_.block_rows},
              {"prompt_rows", plan.prompt_rows, limits_.prompt_rows}};
  for (const auto& cap : caps) {
    if (cap.found > cap.limit) {
      return absl::InternalError(
          absl::StrCat("plan: ", cap.name, " is ", cap.found, ", expected at most ", cap.limit));
    }
  }
  return absl::OkStatus();
}

absl::Status PlanBounds::CheckSlot(const char* what, uint32_t id) const {
  if (id < limits_.slots) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("plan: ", what, " names slot ", id, ", expected less than ", limits_.slots));
}

absl::Status PlanBounds::CheckTokenIds(const StepPlan& plan, const Admission& admission) const {
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

absl::Status PlanBounds::CheckAdmission(const StepPlan& plan, const Admission& admission) const {
  const uint32_t id = admission.slot;
  RETURN_IF_ERROR(CheckSlot("admission", id));
  const SlotState& state = admission.state;
  const SlotLimits& limits = admission.limits;
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
  RETURN_IF_ERROR(CheckRoom(limits_, id, state.position, limits.room));
  if (admission.logprobs != kNoLogprobs && admission.logprobs > limits_.max_logprobs) {
    return OutOfBounds("logprobs", id, admission.logprobs, limits_.max_logprobs + 1);
  }
  if (admission.area == kNoArea && uint64_t{state.position} + 1 < limits.prompt) {
    return absl::InternalError(absl::StrCat("plan: slot ", id, " has no area for its prompt of ",
                                            limits.prompt - state.position, " tokens"));
  }
  if (admission.area != kNoArea && admission.area >= limits_.areas) {
    return OutOfBounds("area", id, admission.area, limits_.areas);
  }
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (state.count[group] > limits_.max_positions) {
      return OutOfBounds("a number of entries", id, state.count[group], limits_.max_positions + 1);
    }
  }
  return CheckTokenIds(plan, admission);
}

absl::Status PlanBounds::CheckEvict(const Evict& evict) const {
  RETURN_IF_ERROR(CheckSlot("an eviction", evict.slot));
  if (evict.group >= shape_.groups() || pages_[evict.group] == 0) {
    return OutOfBounds("an eviction's group", evict.slot, evict.group, shape_.groups());
  }
  if (evict.count > limits_.max_positions) {
    return OutOfBounds("an eviction's count", evict.slot, evict.count, limits_.max_positions + 1);
  }
  return absl::OkStatus();
}

absl::Status PlanBounds::CheckCopy(const PageCopy& copy) const {
  if (copy.from < limits_.pages && copy.to < limits_.pages && copy.from != copy.to) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("plan: copy of page ", copy.from, " to ", copy.to,
                                          ", expected two pages below ", limits_.pages));
}

absl::Status PlanBounds::CheckPage(const PageChange& change) const {
  RETURN_IF_ERROR(CheckSlot("a page", change.slot));
  if (change.group >= shape_.groups()) {
    return OutOfBounds("a page's group", change.slot, change.group, shape_.groups());
  }
  if (change.index >= pages_[change.group]) {
    return OutOfBounds("a page's index", change.slot, change.index, pages_[change.group]);
  }
  if (change.page >= limits_.pages) {
    return OutOfBounds("a page", change.slot, change.page, limits_.pages);
  }
  return absl::OkStatus();
}

absl::Status PlanBounds::CheckToken(const TokenChange& change) const {
  RETURN_IF_ERROR(CheckSlot("a token", change.slot));
  if (change.token < vocab_size_) return absl::OkStatus();
  return OutOfBounds("a token", change.slot, change.token, vocab_size_);
}

absl::Status PlanBounds::CheckCap(const CapChange& change) const {
  RETURN_IF_ERROR(CheckSlot("a cap", change.slot));
  if (change.cap >= 1) return absl::OkStatus();
  return absl::InternalError("plan: a depth cap of 0, expected at least 1");
}

}  // namespace recurve
