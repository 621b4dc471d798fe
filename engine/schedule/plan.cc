// SPDX-License-Identifier: Apache-2.0
// Schedule's part that makes plans.
#include <algorithm>
#include <optional>

#include "engine/base/check.h"
#include "engine/schedule/schedule.h"

namespace recurve {

const StepPlan& Schedule::Plan() {
  EndDue();
  plan_.Clear();
  plan_.epoch = ++planned_;
  plan_.ends = options_.limits.ends;
  plan_.ends_min = options_.policy.ends_min();
  plan_.block_rows = options_.limits.block_rows;
  plan_.prompt_rows = options_.limits.prompt_rows;
  ReturnSurplusPages();
  // Whoever was preempted just now would come back into the pages that it was to leave.
  if (!ExtendRunning()) AdmitWaiting();
  for (const uint32_t slot : dropped_) plan_.drops.push_back({slot});
  dropped_.clear();
  return plan_;
}

void Schedule::EndDue() {
  const SteadyTime now = clock_->Now();
  while (!due_.empty() && due_.begin()->first <= now) {
    Sequence& sequence = sequences_.at(due_.begin()->second);
    const std::optional<SteadyTime>& deadline = sequence.request.deadline;
    const bool is_deadline = deadline.has_value() && *deadline <= now;
    End(sequence, is_deadline ? EndReason::kDeadline : EndReason::kTimeLimit, absl::OkStatus());
  }
}

void Schedule::ReturnSurplusPages() {
  for (const Sequence* sequence : running_) {
    const Stay& stay = stays_.Current(sequence->slot);
    // Not below what ExtendRunning is about to ask for: a page would go and come for nothing.
    const uint32_t room = WantedRoom(stay, planned_ - 1 - committed_, shape_);
    tables_.Trim(sequence->slot, stay.state, room);
  }
}

bool Schedule::ExtendRunning() {
  bool preempted = false;
  // Oldest first, so that a sequence that is preempted has got nothing from this plan yet.
  for (size_t i = 0; i < running_.size(); ++i) {
    const uint32_t slot = running_[i]->slot;
    Stay& stay = stays_.Current(slot);
    const uint32_t room = WantedRoom(stay, planned_ - 1 - committed_, shape_);
    if (room == stay.limits.room) continue;
    bool fits = tables_.Extend(slot, stay.state, room, plan_.pages);
    while (!fits && i == 0) {
      RECURVE_CHECK(running_.size() > 1);  // alone it fits: Add has seen to that
      Preempt(*running_.back());
      preempted = true;
      fits = tables_.Extend(slot, stay.state, room, plan_.pages);
    }
    if (fits) RaiseRoom(stay, room);
  }
  return preempted;
}

void Schedule::RaiseRoom(Stay& stay, uint32_t room) {
  const uint32_t sent = std::min(stay.limits.room + 1, stay.limits.prompt);
  stay.limits.room = room;
  AppendTokens(stay, sent, plan_);
  plan_.rooms.push_back({stay.sequence->slot, room});
}

void Schedule::Preempt(Sequence& sequence) {
  Leave(sequence);
  queue_.PushFront(&sequence);
  ++sequence.ending.preemptions;
  ++counters_.preemptions;
}

void Schedule::AdmitWaiting() {
  while (!queue_.empty()) {
    Sequence& sequence = *queue_.front();
    if (sequence.end == 0) {  // one prompt token and nothing to generate: no row has to run
      End(sequence, sequence.end_reason, absl::OkStatus());
      continue;
    }
    const uint32_t tokens = static_cast<uint32_t>(sequence.tokens.size());
    if (!stays_.HasFreeSlot() || (tokens > 1 && !stays_.HasFreeArea())) return;
    // The whole prompt and a token, though pages come chunk by chunk: a prompt that cannot be
    // finished would only be in the way.
    if (tables_.PagesFor(std::min(tokens + 1, sequence.end)) > pool_.free()) return;
    Admit(sequence);
  }
}

void Schedule::Admit(Sequence& sequence) {
  queue_.Remove(&sequence);
  sequence.tokens.reserve(sequence.end + 1);
  const uint32_t tokens = static_cast<uint32_t>(sequence.tokens.size());
  Stay& stay = stays_.Begin(&sequence, tokens > 1, planned_, committed_);
  stay.state.stage = Stage::kEntry;
  stay.limits.prompt = tokens;
  stay.limits.end = sequence.end;
  stay.limits.chunk = options_.limits.chunk;
  // A span's rows with logits must fit under `ends` together.
  if (sequence.WantsPromptLogprobs()) {
    stay.limits.chunk = std::min(stay.limits.chunk, options_.limits.ends);
  }
  stay.limits.room = WantedRoom(stay, planned_ - 1 - committed_, shape_);
  RECURVE_CHECK(tables_.Extend(sequence.slot, stay.state, stay.limits.room, plan_.pages));
  AppendAdmission(stay, plan_);
  AppendTokens(stay, 0, plan_);
  running_.push_back(&sequence);
  if (!sequence.ending.admitted.has_value()) {
    sequence.ending.admitted = clock_->Now();
    sequence.request.observer->OnStarted();
  }
}

}  // namespace recurve
