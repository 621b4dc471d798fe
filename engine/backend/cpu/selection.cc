// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/selection.h"

#include <limits>

namespace recurve {
namespace {

constexpr uint32_t kUnlimited = std::numeric_limits<uint32_t>::max();

}  // namespace

Selection::Selection(uint32_t slots) { chosen_.reserve(slots); }

bool Selection::EndsRun(const SlotTable& table, const StepPlan& plan) {
  if (plan.ends == 0) return false;
  uint64_t waiting = 0;
  bool block_waits = false;
  for (uint32_t id = 0; id < table.size(); ++id) {
    const SlotState& state = table.slot(id).state;
    if (state.stage == Stage::kExit) waiting += state.rows;
    if (state.stage == Stage::kEntry) waiting += SpanRows(state, table.slot(id).limits);
    block_waits |= state.stage == Stage::kBlock;
  }
  // kEndsWhenBlockEmpty is more than any number of rows.
  return waiting >= plan.ends_min || !block_waits;
}

Selection::Need Selection::NeedOf(const Slot& slot, Stage stage) {
  if (slot.state.stage != stage) return {false, 0, 0};
  switch (stage) {
    case Stage::kExit:
      return {true, slot.state.rows, slot.LogitRows()};
    case Stage::kEntry: {
      const uint32_t rows = SpanRows(slot.state, slot.limits);
      return {rows > 0, rows, 0};
    }
    case Stage::kBlock:
      return {true, slot.state.active, 0};
    case Stage::kNone:
      break;
  }
  return {false, 0, 0};
}

bool Selection::Scan(const SlotTable& table, Stage stage, Kind kind, Caps& caps) {
  uint32_t& cursor = cursors_[static_cast<uint32_t>(stage)][kind];
  const uint32_t begin = cursor;
  for (uint32_t i = 0; i < table.size(); ++i) {
    const uint32_t id = (begin + i) % table.size();
    const Slot& slot = table.slot(id);
    const Need need = NeedOf(slot, stage);
    if (!need.waits || (slot.InPrompt() ? kPrompt : kGenerated) != kind) continue;
    if (need.rows > caps.rows || need.logits > caps.logits) {
      cursor = id;
      return need.logits <= caps.logits;
    }
    caps.rows -= need.rows;
    caps.logits -= need.logits;
    chosen_.push_back(id);
  }
  return true;
}

const std::vector<uint32_t>& Selection::Exit(const SlotTable& table, const StepPlan& plan) {
  chosen_.clear();
  Caps generated = {plan.ends, plan.ends};
  Caps prompts = {plan.prompt_rows, plan.ends};
  if (exit_first_ == kGenerated) {
    Scan(table, Stage::kExit, kGenerated, generated);
    prompts.logits = generated.logits;
    if (!Scan(table, Stage::kExit, kPrompt, prompts)) exit_first_ = kPrompt;
  } else {
    Scan(table, Stage::kExit, kPrompt, prompts);
    generated.logits = prompts.logits;
    if (!Scan(table, Stage::kExit, kGenerated, generated)) exit_first_ = kGenerated;
  }
  return chosen_;
}

const std::vector<uint32_t>& Selection::Entry(const SlotTable& table, const StepPlan& plan) {
  chosen_.clear();
  Caps generated = {plan.ends, kUnlimited};
  Caps prompts = {plan.prompt_rows, kUnlimited};
  Scan(table, Stage::kEntry, kGenerated, generated);
  Scan(table, Stage::kEntry, kPrompt, prompts);
  return chosen_;
}

const std::vector<uint32_t>& Selection::Block(const SlotTable& table, const StepPlan& plan) {
  chosen_.clear();
  Caps generated = {plan.block_rows, kUnlimited};
  Caps prompts = {plan.prompt_rows, kUnlimited};
  Scan(table, Stage::kBlock, kGenerated, generated);
  Scan(table, Stage::kBlock, kPrompt, prompts);
  return chosen_;
}

}  // namespace recurve
