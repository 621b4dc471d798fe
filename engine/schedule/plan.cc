// SPDX-License-Identifier: Apache-2.0
// Schedule::Plan and what it calls.
#include <algorithm>
#include <optional>

#include "engine/base/check.h"
#include "engine/schedule/schedule.h"

namespace recurve {
namespace {

// Null if there is none.
Sequence* LastPreemptible(const std::vector<Sequence*>& running) {
  const auto last = std::find_if(running.rbegin(), running.rend(), [](const Sequence* sequence) {
    return sequence->IsPreemptible();
  });
  return last == running.rend() ? nullptr : *last;
}

}  // namespace

const StepPlan& Schedule::Plan() {
  const SteadyTime now = clock_->Now();
  EndDue(now);
  if (dial_.has_goal()) dial_.Turn(now, now - queue_.OldestArrival().value_or(now));
  preempted_ = false;
  ++planned_;
  ends_min_ = EndsMin();
  builder_.Begin(planned_, ends_min_);
  PreemptForPriority();
  EvictAtBoundaries();
  ReturnSurplusPages();
  ShareSteps();
  // A plan that preempts does not admit: the preempted sequence is first in the queue and would
  // take back the pages that it gave up.
  ExtendRunning();
  if (!preempted_) AdmitWaiting();
  if (builder_.is_full()) accounts_.CountFullPlan();
  accounts_.CountEvictions(builder_.plan(), stays_);
  stays_.TellDrops(builder_.plan().drops);
  return builder_.plan();
}

uint32_t Schedule::EndsMin() {
  if (options_.policy.ends_min().has_value()) return *options_.policy.ends_min();
  for (const Sequence* sequence : running_) {
    const Stay& stay = stays_.Current(sequence->slot);
    const SlotState& state = stay.state;
    const bool waits = state.stage == Stage::kExit ||
                       (state.stage == Stage::kEntry && SpanRows(state, stay.limits) > 0);
    if (waits && planned_ - stay.last_ran > staging_.longest_wait()) return 1;
  }
  return staging_.EndsMin(Generating());
}

uint32_t Schedule::Generating() const {
  return static_cast<uint32_t>(
      std::count_if(running_.begin(), running_.end(), [this](const Sequence* sequence) {
        const Stay& stay = stays_.Current(sequence->slot);
        return stay.state.position >= stay.limits.prompt;
      }));
}

void Schedule::EndDue(SteadyTime now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    Sequence& sequence = sequences_.at(due_.begin()->second);
    const auto is_past = [now](const std::optional<SteadyTime>& t) { return t && *t <= now; };
    EndReason reason = EndReason::kQueueTimeout;
    if (is_past(sequence.sample.time_limit)) reason = EndReason::kTimeLimit;
    if (is_past(sequence.sample.deadline)) reason = EndReason::kDeadline;
    End(sequence, reason, absl::OkStatus());
  }
}

void Schedule::EvictAtBoundaries() {
  for (const Sequence* sequence : running_) {
    Stay& stay = stays_.Current(sequence->slot);
    if (boundaries_.IsAt(stay)) boundaries_.DropEntries(stay, builder_);
  }
  // Getting pages may preempt sequences behind the one that they are for, so the size is asked for
  // anew.
  for (size_t i = 0; i < running_.size(); ++i) {
    Stay& stay = stays_.Current(running_[i]->slot);
    if (!boundaries_.IsAt(stay)) continue;
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      // Where pages are lacking, or space in the plan, the sequence stays at its boundary, and the
      // next plan tries again.
      WithPages(i, [&] { return boundaries_.CopyShared(stay, group, builder_); });
    }
  }
}

void Schedule::ReturnSurplusPages() {
  for (const Sequence* sequence : running_) {
    const Stay& stay = stays_.Current(sequence->slot);
    // Pages below the room that ExtendRunning asks for at most are kept, since it would only take
    // them back, now or, where prompts share steps, soon.
    const uint32_t room =
        WantedRoom(stay, planned_ - 1 - committed_, shape_, PromptBudget::kNoBound);
    tables_.Trim(sequence->slot, stay.state, room);
  }
}

void Schedule::PreemptForPriority() {
  while (queue_.HasNext()) {
    const Sequence& next = *queue_.Next();
    if (admission_.CanAdmit(next, running_)) return;
    // Preempt only if it suffices: what ALL running sequences of lower priority hold, slots, areas
    // and pages, must cover what `next` needs.
    if (!admission_.CanAdmitInPlaceOfOthers(next, running_)) return;
    Preempt(*LastPreemptible(running_));
    accounts_.CountPreemptionForPriority();
  }
}

bool Schedule::WithPages(size_t index, absl::FunctionRef<bool()> attempt) {
  while (!prefixes_.WithFreedPages(attempt)) {
    if (index > 0) return false;
    RECURVE_CHECK(running_.size() > 1);  // alone it fits: CheckCanRun has seen to that
    Sequence* const last = LastPreemptible(running_);
    // No other sequence can be preempted any more, so each has pages for all that it may become.
    // The pages that are lacking come when one of them ends.
    if (last == nullptr || last == running_[0]) return false;
    Preempt(*last);
    accounts_.CountPreemptionForMemory();
    preempted_ = true;
  }
  return true;
}

void Schedule::ShareSteps() {
  prompt_budget_.Begin(Generating());
  for (const Sequence* sequence : running_) {
    const Stay& stay = stays_.Current(sequence->slot);
    if (stay.state.position < stay.limits.prompt) prompt_budget_.Count(stay);
  }
}

void Schedule::ExtendRunning() {
  // In order of precedence: a sequence that is preempted here comes behind the one that needs its
  // pages, so this plan has not given it any yet.
  for (size_t i = 0; i < running_.size(); ++i) {
    const uint32_t slot = running_[i]->slot;
    Stay& stay = stays_.Current(slot);
    // Until all of its pages have been told a sequence may own pages that copies are still to be
    // made of, so it gets no more of them.
    if (!builder_.TellUpTo(stay, stay.limits.room, tables_)) continue;
    const bool in_prompt = stay.state.position < stay.limits.prompt;
    const uint32_t prompt_rows = in_prompt ? prompt_budget_.RowsFor(stay) : 0;
    const uint32_t room = WantedRoom(stay, planned_ - 1 - committed_, shape_, prompt_rows);
    if (room == stay.limits.room) continue;
    const uint32_t in_flight = PromptBudget::RowsInFlight(stay);
    const bool fits = WithPages(i, [&] { return tables_.Extend(slot, stay.state, room); });
    if (fits) RaiseRoom(stay, room);
    if (in_prompt) prompt_budget_.Took(stay, in_flight);
  }
}

void Schedule::RaiseRoom(Stay& stay, uint32_t room) {
  // The dial's cap does not change tokens whose caps have been told in part, because a plan had no
  // space for the rest.
  if (stay.told_caps <= stay.limits.room) FollowDial(*stay.sequence, stay.limits.room);
  if (builder_.TellUpTo(stay, room, tables_)) builder_.RaiseRoom(stay, room);
}

void Schedule::FollowDial(Sequence& sequence, uint32_t position) {
  const uint32_t stored = sequence.StoredPrefix();
  sequence.FollowCap(position, dial_.cap());
  // From the first lowered cap on a sequence stores no prefix: whoever waits for more of it is let
  // go.
  if (sequence.StoredPrefix() < stored) prefixes_.StopLeading(sequence);
}

void Schedule::Preempt(Sequence& sequence) {
  builder_.TakeBack(sequence.slot);
  Leave(sequence);
  queue_.Return(&sequence);
  ++sequence.stats.preemptions;
}

void Schedule::AdmitWaiting() {
  const CachedPrefix nothing;
  while (queue_.HasNext()) {
    Sequence& sequence = *queue_.Next();
    if (sequence.end == 0) {  // one prompt token and nothing to generate: no row has to run
      End(sequence, sequence.end_reason, absl::OkStatus());
      continue;
    }
    if (!admission_.HasSlotFor(sequence) || !builder_.HasSpaceToAdmit(sequence)) return;
    const CachedPrefix* prefix = &prefixes_.Find(sequence);
    if (prefixes_.ParkNext(sequence, prefix->tokens, running_)) continue;
    if (!admission_.HasPagesFor(sequence, *prefix, running_)) {
      prefix = &nothing;  // the pages of what was found may be the only ones that are left
      if (!admission_.HasPagesFor(sequence, *prefix, running_)) return;
    }
    AdmitNext(*prefix);
  }
}

void Schedule::AdmitNext(const CachedPrefix& prefix) {
  Sequence& sequence = *queue_.Next();
  queue_.TakeNext();
  // An endless sequence may stop long before its end, so nothing is reserved for that.
  const uint32_t max_positions = options_.limits.max_positions;
  if (sequence.end < max_positions) sequence.tokens.reserve(sequence.end + 1);
  const uint32_t tokens = static_cast<uint32_t>(sequence.tokens.size());
  Stay& stay = stays_.Begin(&sequence, tokens - prefix.tokens > 1, planned_, committed_);
  tables_.TakeMemory(sequence.slot, std::min(sequence.end, max_positions));
  stay.state.stage = Stage::kEntry;
  stay.last_ran = planned_ - 1;
  stay.limits.prompt = tokens;
  stay.limits.end = sequence.end;
  stay.limits.chunk = options_.limits.chunk;
  // A span's rows with logits must fit under `ends` together.
  if (sequence.WantsPromptLogprobs()) {
    stay.limits.chunk = std::min(stay.limits.chunk, options_.limits.ends);
  }
  stay.boundary = sequence.sample.budget.NextBoundary(0);
  prefixes_.Adopt(stay, prefix);
  stay.limits.room = stay.state.position;  // held
  prompt_budget_.Count(stay);
  const uint32_t room =
      WantedRoom(stay, planned_ - 1 - committed_, shape_, prompt_budget_.RowsFor(stay));
  if (!sequence.IsPreemptible()) {
    tables_.Reserve(sequence.slot, sequence.end, sequence.sample.budget);
  }
  RECURVE_CHECK(
      prefixes_.WithFreedPages([&] { return tables_.Extend(sequence.slot, stay.state, room); }));
  FollowDial(sequence, stay.state.position);
  if (builder_.TellUpTo(stay, room, tables_)) stay.limits.room = room;
  prompt_budget_.Took(stay, 0);
  builder_.Admit(stay);
  MarkStarted(sequence);
  accounts_.CountPrefix(sequence, prefix, PrefixSharing::MayFind(sequence));
  sequence.TellRows(0, prefix.depths, {});
  const auto later = [](const Sequence* a, const Sequence* b) { return a->Precedes(*b); };
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, later), &sequence);
}

void Schedule::MarkStarted(Sequence& sequence) {
  const SteadyTime now = clock_->Now();
  if (sequence.told_rows > 0) sequence.recomputing_since = now;
  if (sequence.stats.admitted.has_value()) return;
  const uint64_t id = sequence.sample.id;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.erase({*due, id});
  sequence.turn = admitted_++;
  sequence.stats.admitted = now;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.emplace(*due, id);
  sequence.sample.observer->OnStarted();
}

}  // namespace recurve
