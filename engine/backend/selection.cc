// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/selection.h"

namespace recurve {
namespace {

StepCaps CapsOf(const StepPlan& plan) {
  return {plan.ends, plan.ends_min, plan.block_rows, plan.prompt_rows};
}

}  // namespace

Selection::Selection(uint32_t slots) { chosen_.reserve(slots); }

bool Selection::EndsRun(const SlotTable& table, const StepPlan& plan) {
  uint64_t waiting = 0;
  bool block_waits = false;
  for (uint32_t id = 0; id < table.size(); ++id) {
    const Slot& slot = table.slot(id);
    waiting += NeedOf(slot, Stage::kExit).rows + NeedOf(slot, Stage::kEntry).rows;
    block_waits |= slot.state.stage == Stage::kBlock;
  }
  return recurve::EndsRun(CapsOf(plan), waiting, block_waits);
}

bool Selection::Scan(const SlotTable& table, Stage stage, RowKind kind, RowCounts& left) {
  uint32_t& cursor = state_.cursor[static_cast<uint32_t>(stage)][static_cast<uint32_t>(kind)];
  const uint32_t begin = cursor;
  for (uint32_t i = 0; i < table.size(); ++i) {
    const uint32_t id = (begin + i) % table.size();
    const Slot& slot = table.slot(id);
    const RowCounts need = NeedOf(slot, stage);
    if (need.rows == 0 || KindOf(slot) != kind) continue;
    if (!Fits(need, left)) {
      cursor = id;
      return need.logits <= left.logits;
    }
    left.rows -= need.rows;
    left.logits -= need.logits;
    chosen_.push_back(id);
  }
  return true;
}

bool Selection::Choose(const SlotTable& table, const StepPlan& plan, Stage stage, RowKind first) {
  chosen_.clear();
  const StepCaps caps = CapsOf(plan);
  RowCounts left = recurve::CapsOf(caps, stage, first);
  Scan(table, stage, first, left);
  left.rows = recurve::CapsOf(caps, stage, Other(first)).rows;
  return Scan(table, stage, Other(first), left);
}

const std::vector<uint32_t>& Selection::Exit(const SlotTable& table, const StepPlan& plan) {
  const RowKind first = state_.first_at_exit;
  if (!Choose(table, plan, Stage::kExit, first)) state_.first_at_exit = Other(first);
  return chosen_;
}

const std::vector<uint32_t>& Selection::Entry(const SlotTable& table, const StepPlan& plan) {
  Choose(table, plan, Stage::kEntry, RowKind::kGenerated);
  return chosen_;
}

const std::vector<uint32_t>& Selection::Block(const SlotTable& table, const StepPlan& plan) {
  Choose(table, plan, Stage::kBlock, RowKind::kGenerated);
  return chosen_;
}

}  // namespace recurve
