// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/schedule/fake_backend.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/backend/step_sizes.h"

namespace recurve {

FakeBackend::FakeBackend(const FakeModel& model, const BackendLimits& limits,
                         const EntriesPerPage& entries_per_page, uint64_t seed, FakeFault fault)
    : model_(model),
      limits_(limits),
      entries_per_page_(entries_per_page),
      fault_(fault),
      random_(seed),
      slots_(limits.slots),
      rows_(limits.slots + size_t{limits.areas} * limits.chunk),
      pages_(limits.pages),
      changes_(limits.pages) {
  const uint32_t most = *std::max_element(entries_per_page_.begin(), entries_per_page_.end());
  for (auto& page : pages_) page.resize(most, {random_(), kNoToken});
}

absl::Status FakeBackend::Submit(const StepPlan& plan) {
  Check(plan.epoch == epoch_ + 1, "epochs are not consecutive");
  Check(plan.ends <= limits_.ends && plan.block_rows <= limits_.block_rows &&
            plan.prompt_rows <= limits_.prompt_rows,
        "plan exceeds the backend's limits");
  Check(CheckPlanSizes(plan, limits_).ok(), "plan is larger than the limits allow");
  epoch_ = plan.epoch;
  if (fault_ == FakeFault::kChangesAtSubmit) Apply(plan);
  plans_.push_back(plan);
  while (!plans_.empty() && random_() % 2 == 0) RunOldest();
  return absl::OkStatus();
}

absl::Status FakeBackend::Collect(StepResult& result) {
  if (results_.empty()) RunOldest();
  if (!violation_.empty()) return absl::InternalError(violation_);
  result = std::move(results_.front());
  results_.pop_front();
  const ResultSizes sizes = SizesOf(result);
  const ResultSizes most = MostOfResult(limits_);
  Check(sizes.outcomes <= most.outcomes && sizes.depths <= most.depths &&
            sizes.logprobs <= most.logprobs,
        "result is larger than the limits allow");
  return absl::OkStatus();
}

void FakeBackend::RunOldest() {
  const StepPlan plan = std::move(plans_.front());
  plans_.pop_front();
  if (fault_ != FakeFault::kChangesAtSubmit) Apply(plan);
  StepResult& result = results_.emplace_back();
  result.epoch = plan.epoch;
  if (!violation_.empty()) return;

  std::vector<Outcome> outcomes(slots_.size());
  std::vector<std::vector<uint32_t>> depths(slots_.size());
  std::vector<SlotState> before(slots_.size());
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    outcomes[i].slot = i;
    before[i] = slots_[i].state;
  }
  const bool ends_run = EndsRun(plan);
  CheckWaits(ends_run);
  if (ends_run) {
    for (const uint32_t i : Select(exit_, Stage::kExit, plan.ends, plan.prompt_rows)) {
      RunExit(i, outcomes[i], depths[i], result);
    }
    for (const uint32_t i : Select(entry_, Stage::kEntry, plan.ends, plan.prompt_rows)) {
      RunEntry(slots_[i], outcomes[i]);
    }
  }
  for (const uint32_t i : Select(block_, Stage::kBlock, plan.block_rows, plan.prompt_rows)) {
    RunBlock(slots_[i], outcomes[i]);
  }
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    if (outcomes[i].ran == 0) continue;
    if (outcomes[i].stop()) RunSurplus(slots_[i], outcomes[i]);
    // The stages were resolved one by one as they ran; together they must say the same.
    const SlotState once =
        Resolve(before[i], outcomes[i], slots_[i].admission.limits, model_.shape);
    Check(once.stage == slots_[i].state.stage && once.position == slots_[i].state.position &&
              std::equal(once.count, once.count + kMaxGroups, slots_[i].state.count),
          "an outcome does not resolve as its parts do");
    result.outcomes.push_back(outcomes[i]);
    result.depths.insert(result.depths.end(), depths[i].begin(), depths[i].end());
  }
}

bool FakeBackend::EndsRun(const StepPlan& plan) const {
  uint32_t waiting = 0;
  bool block_is_empty = true;
  for (const Slot& slot : slots_) {
    if (slot.state.stage == Stage::kExit) waiting += slot.state.rows;
    if (slot.state.stage == Stage::kEntry) waiting += SpanRows(slot.state, slot.admission.limits);
    if (slot.state.stage == Stage::kBlock) block_is_empty = false;
  }
  return plan.ends > 0 && (waiting >= plan.ends_min || block_is_empty);
}

void FakeBackend::CheckWaits(bool ends_run) {
  for (Slot& slot : slots_) {
    const bool waits = slot.state.stage == Stage::kExit && !ends_run;
    slot.waited = waits ? slot.waited + 1 : 0;
    Check(slot.waited <= longest_wait_, "a row waits too long for EXIT");
  }
}

uint32_t FakeBackend::RowsToRun(const Slot& slot, Stage stage) const {
  if (fault_ == FakeFault::kExitsEarly && stage == Stage::kExit &&
      slot.state.stage == Stage::kBlock && slot.state.recursion > 1) {
    return slot.state.rows;
  }
  if (slot.state.stage != stage) return 0;
  if (stage == Stage::kExit) return slot.state.rows;
  if (stage == Stage::kBlock) return slot.state.active;
  SlotLimits limits = slot.admission.limits;
  if (fault_ == FakeFault::kIgnoresRoom) limits.room = limits.end;
  return SpanRows(slot.state, limits);
}

uint32_t FakeBackend::RowsWithLogits(const Slot& slot) const {
  if ((slot.admission.wants & kWantsPromptLogprobs) != 0 && InPrompt(slot)) return slot.state.rows;
  return Samples(slot.state, slot.admission.limits) ? 1 : 0;
}

std::vector<uint32_t> FakeBackend::Select(Selection& selection, Stage stage,
                                          uint32_t generated_rows, uint32_t prompt_rows) const {
  std::vector<uint32_t> taken;
  const uint32_t first = selection.next;
  bool generated_open = true;
  bool prompt_open = true;
  bool all_fit = true;
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    const uint32_t index = (first + i) % static_cast<uint32_t>(slots_.size());
    const Slot& slot = slots_[index];
    const uint32_t rows = RowsToRun(slot, stage);
    if (rows == 0) continue;
    bool& open = InPrompt(slot) ? prompt_open : generated_open;
    const uint32_t prompt_cost = InPrompt(slot) ? rows : 0;
    uint32_t generated_cost = InPrompt(slot) ? 0 : rows;
    if (stage == Stage::kExit) generated_cost = RowsWithLogits(slot);
    if (open && generated_cost <= generated_rows && prompt_cost <= prompt_rows) {
      generated_rows -= generated_cost;
      prompt_rows -= prompt_cost;
      taken.push_back(index);
    } else {
      open = false;
      if (all_fit) selection.next = index;
      all_fit = false;
    }
  }
  return taken;
}

FakeBackend::Row& FakeBackend::RowOf(const Slot& slot, uint32_t row) {
  const Admission& admission = slot.admission;
  const bool in_area = InPrompt(slot) && admission.area != kNoArea;
  const size_t base =
      in_area ? slots_.size() + size_t{admission.area} * limits_.chunk : size_t{admission.slot};
  return rows_[base + row];
}

uint32_t FakeBackend::CapAt(const Slot& slot, uint32_t position) const {
  uint32_t cap = model_.shape.recursions;
  if (fault_ == FakeFault::kIgnoresCaps) return cap;
  for (const CapChange& change : slot.caps) {
    if (change.position <= position) cap = change.cap;
  }
  return cap;
}

FakeEntry* FakeBackend::EntryAt(const Slot& slot, uint32_t group, uint32_t index) {
  static FakeEntry nowhere;
  const uint32_t per_page = entries_per_page_[group];
  const std::vector<uint32_t>& table = slot.tables[group];
  const bool exists = index / per_page < table.size();
  Check(exists, "slot " + std::to_string(slot.admission.slot) + " has no page for entry " +
                    std::to_string(index) + " of group " + std::to_string(group));
  return exists ? &pages_[table[index / per_page]][index % per_page] : &nowhere;
}

void FakeBackend::AppendAndAttend(const Slot& slot, uint32_t row, uint32_t group, uint32_t layer,
                                  uint32_t index, bool append) {
  if (entries_per_page_[group] == 0) return;
  uint64_t& value = RowOf(slot, row).hidden.value;
  const uint32_t position = slot.state.position + row;
  if (append) *EntryAt(slot, group, index) = model_.Append(value, group, position);
  std::vector<FakeEntry> seen;
  const uint32_t held = append ? index + 1 : slot.state.count[group];
  for (uint32_t i = 0; i < held; ++i) {
    FakeEntry& entry = *EntryAt(slot, group, i);
    if (!append && entry.position > position && entry.position != kNoToken) break;
    if (append) entry.mass += model_.Mass(value, entry);
    seen.push_back(entry);
  }
  value = model_.Attend(value, layer, seen);
}

void FakeBackend::RunExit(uint32_t index, Outcome& outcome, std::vector<uint32_t>& depths,
                          StepResult& result) {
  Slot& slot = slots_[index];
  const uint32_t group = model_.shape.exit_group();
  outcome.ran |= kRanExit;
  for (uint32_t row = 0; row < slot.state.rows; ++row) {
    AppendAndAttend(slot, row, group, kMaxGroups, slot.state.count[group] + row, true);
    depths.push_back(RowOf(slot, row).hidden.depth);
    RunExitLogits(index, row, outcome, result);
  }
  slot.state = Resolve(slot.state, outcome, slot.admission.limits, model_.shape);
}

void FakeBackend::RunExitLogits(uint32_t index, uint32_t row, Outcome& outcome,
                                StepResult& result) {
  Slot& slot = slots_[index];
  const Admission& admission = slot.admission;
  const uint64_t value = RowOf(slot, row).hidden.value;
  const uint32_t next = slot.state.position + row + 1;  // what the logits speak of
  const uint32_t top = admission.logprobs;
  if (next < admission.limits.prompt) {
    if ((admission.wants & kWantsPromptLogprobs) == 0) return;
    Check(slot.history[next] != kNoToken, "no token after a row with prompt log probabilities");
    model_.Logprobs(value, index, next, slot.history[next], top, result.logprobs);
    return;
  }
  if (next > admission.limits.end) return;
  const FakeSampling sampling{admission.sampling, admission.threshold_logit, slot.biases,
                              slot.stop_ids};
  outcome.token = model_.Sample(value, {slot.history.data(), next}, sampling);
  if (std::count(slot.stop_ids.begin(), slot.stop_ids.end(), outcome.token) > 0) {
    outcome.flags |= kStopId;
  }
  slot.history[next] = outcome.token;
  if (top != kNoLogprobs) {
    model_.Logprobs(value, index, next, outcome.token, top, result.logprobs);
  }
}

void FakeBackend::RunEntry(Slot& slot, Outcome& outcome) {
  SlotState& state = slot.state;
  const uint32_t group = model_.shape.entry_group();
  Outcome entry;
  entry.ran = kRanEntry;
  entry.rows = RowsToRun(slot, Stage::kEntry);
  for (uint32_t row = 0; row < entry.rows; ++row) {
    const uint32_t position = state.position + row;
    Check(slot.history[position] != kNoToken, "no token for a row");
    Row& run = RowOf(slot, row);
    run.hidden = {model_.Embed(slot.history[position], position), 0};
    run.active = true;
    AppendAndAttend(slot, row, group, group, state.count[group] + row, true);
    run.entered = run.hidden.value;
  }
  state = Resolve(state, entry, slot.admission.limits, model_.shape);
  outcome.ran |= kRanEntry;
  outcome.rows = entry.rows;
}

void FakeBackend::RunBlock(Slot& slot, Outcome& outcome) {
  SlotState& state = slot.state;
  const StepShape& shape = model_.shape;
  const uint32_t group = shape.group(state.recursion);
  uint32_t index = state.count[group];
  Outcome block;
  block.ran = kRanBlock;
  for (uint32_t row = 0; row < state.rows; ++row) {
    Row& run = RowOf(slot, row);
    if (!run.active) continue;
    AppendAndAttend(slot, row, group, state.recursion, index++, shape.appends(state.recursion));
    run.hidden.depth = state.recursion;
    run.active = model_.Continues(run.hidden, run.entered, CapAt(slot, state.position + row),
                                  slot.admission.threshold_logit);
    block.active += run.active ? 1 : 0;
  }
  state = Resolve(state, block, slot.admission.limits, shape);
  outcome.ran |= kRanBlock;
  outcome.active = block.active;
}

// A backend that makes its lists before sampling runs a row too many for a slot that met a stop id.
void FakeBackend::RunSurplus(Slot& slot, Outcome& outcome) {
  SlotState& state = slot.state;
  if (state.position >= slot.admission.limits.room || random_() % 2 == 0) return;
  const SlotState stopped = state;
  state.stage = Stage::kEntry;
  RunEntry(slot, outcome);
  RunBlock(slot, outcome);
  state = stopped;
}

}  // namespace recurve
