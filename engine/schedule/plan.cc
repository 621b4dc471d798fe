// SPDX-License-Identifier: Apache-2.0
// Schedule's part that makes plans.
#include <algorithm>
#include <optional>

#include "engine/base/check.h"
#include "engine/schedule/schedule.h"

namespace recurve {

const StepPlan& Schedule::Plan() {
  const SteadyTime now = clock_->Now();
  EndDue(now);
  if (dial_.has_goal()) dial_.Turn(now, now - queue_.OldestArrival().value_or(now));
  plan_.Clear();
  preempted_ = false;
  plan_.epoch = ++planned_;
  plan_.ends = options_.limits.ends;
  plan_.ends_min = options_.policy.ends_min();
  plan_.block_rows = options_.limits.block_rows;
  plan_.prompt_rows = options_.limits.prompt_rows;
  PreemptForPriority();
  EvictAtBoundaries();
  ReturnSurplusPages();
  // A plan that preempts does not admit: the preempted sequence is first in the queue and would
  // take back the pages that it gave up.
  ExtendRunning();
  if (!preempted_) AdmitWaiting();
  accounts_.CountEvictions(plan_, stays_);
  for (const uint32_t slot : dropped_) plan_.drops.push_back({slot});
  dropped_.clear();
  return plan_;
}

void Schedule::EndDue(SteadyTime now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    Sequence& sequence = sequences_.at(due_.begin()->second);
    const auto is_past = [now](const std::optional<SteadyTime>& t) { return t && *t <= now; };
    EndReason reason = EndReason::kQueueTimeout;
    if (is_past(sequence.request.time_limit)) reason = EndReason::kTimeLimit;
    if (is_past(sequence.request.deadline)) reason = EndReason::kDeadline;
    End(sequence, reason, absl::OkStatus());
  }
}

void Schedule::EvictAtBoundaries() {
  // All evictions are chosen before any sequence gets copies. A sequence that gets copies lets go
  // of the originals; their other owner is then alone with them, and must not drop entries from
  // them in the plan that copies them.
  for (const Sequence* sequence : running_) {
    if (IsAtBoundary(*sequence) && OwnsEntriesAlone(*sequence)) DropEntries(*sequence);
  }
  // CopyShared may preempt sequences behind the one that it serves, so the size is asked for anew.
  for (size_t i = 0; i < running_.size(); ++i) {
    if (IsAtBoundary(*running_[i])) CopyShared(i);
  }
}

bool Schedule::IsAtBoundary(const Sequence& sequence) const {
  const Stay& stay = stays_.Current(sequence.slot);
  return stay.state.stage == Stage::kEntry && stay.state.position == stay.boundary;
}

bool Schedule::IsOverBudget(const Sequence& sequence, uint32_t group) const {
  const SlotState& state = stays_.Current(sequence.slot).state;
  return options_.entries_per_page[group] > 0 &&
         state.count[group] > sequence.request.budget.Keep(group, state.position);
}

bool Schedule::OwnsEntriesAlone(const Sequence& sequence) const {
  const SlotState& state = stays_.Current(sequence.slot).state;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (!IsOverBudget(sequence, group)) continue;
    if (!tables_.OwnsAlone(sequence.slot, group, state.count[group])) return false;
  }
  return true;
}

void Schedule::DropEntries(const Sequence& sequence) {
  Stay& stay = stays_.Current(sequence.slot);
  SlotState& state = stay.state;
  const KvBudget& budget = sequence.request.budget;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (!IsOverBudget(sequence, group)) continue;
    const uint32_t keep = budget.Keep(group, state.position);
    plan_.evicts.push_back({sequence.slot, group, state.count[group], keep});
    state.count[group] = keep;
  }
  stay.boundary = budget.NextBoundary(state.position);
}

void Schedule::CopyShared(size_t index) {
  const Sequence& sequence = *running_[index];
  const SlotState& state = stays_.Current(sequence.slot).state;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    if (!IsOverBudget(sequence, group)) continue;
    // Where pages are lacking the sequence stays at its boundary, and the next plan tries again.
    WithPages(index, [&] {
      return tables_.CopyShared(sequence.slot, group, state.count[group], plan_.copies,
                                plan_.pages);
    });
  }
}

void Schedule::ReturnSurplusPages() {
  for (const Sequence* sequence : running_) {
    const Stay& stay = stays_.Current(sequence->slot);
    // Pages below the room that ExtendRunning is about to ask for are kept, since it would only
    // take them back.
    const uint32_t room = WantedRoom(stay, planned_ - 1 - committed_, shape_);
    tables_.Trim(sequence->slot, stay.state, room);
  }
}

void Schedule::PreemptForPriority() {
  while (queue_.HasNext()) {
    const Sequence& next = *queue_.Next();
    const bool wants_area = next.tokens.size() > 1;
    uint32_t pages = pool_.free() + pool_.cached();
    bool slot = stays_.HasFreeSlot();
    bool area = stays_.HasFreeArea();
    if (slot && (area || !wants_area) && PagesToAdmit(next) <= pages) return;
    // Preempt only if it suffices: what ALL running sequences of lower priority hold, slots, areas
    // and pages, must cover what `next` needs.
    for (const Sequence* sequence : running_) {
      if (sequence->request.priority <= next.request.priority || !sequence->IsPreemptible())
        continue;
      slot = true;
      area |= stays_.Current(sequence->slot).area != kNoArea;
      pages += tables_.own_pages(sequence->slot);
    }
    if (!slot || (wants_area && !area) || PagesToAdmit(next) > pages) return;
    Preempt(*LastPreemptible());
    accounts_.CountPreemptionForPriority();
  }
}

bool Schedule::WithPages(size_t index, absl::FunctionRef<bool()> attempt) {
  while (!prefixes_.WithFreedPages(attempt)) {
    if (index > 0) return false;
    RECURVE_CHECK(running_.size() > 1);  // alone it fits: Add has seen to that
    Sequence* const last = LastPreemptible();
    // No other sequence can be preempted any more, so each has pages for all that it may become.
    // The pages that are lacking come when one of them ends.
    if (last == nullptr || last == running_[0]) return false;
    Preempt(*last);
    accounts_.CountPreemptionForMemory();
    preempted_ = true;
  }
  return true;
}

void Schedule::ExtendRunning() {
  // In order of precedence: a sequence that is preempted here comes behind the one that needs its
  // pages, so this plan has not given it any yet.
  for (size_t i = 0; i < running_.size(); ++i) {
    const uint32_t slot = running_[i]->slot;
    Stay& stay = stays_.Current(slot);
    const uint32_t room = WantedRoom(stay, planned_ - 1 - committed_, shape_);
    if (room == stay.limits.room) continue;
    const bool fits =
        WithPages(i, [&] { return tables_.Extend(slot, stay.state, room, plan_.pages); });
    if (fits) RaiseRoom(stay, room);
  }
}

void Schedule::RaiseRoom(Stay& stay, uint32_t room) {
  Sequence& sequence = *stay.sequence;
  const uint32_t old = stay.limits.room;
  if (FollowDial(sequence, old)) sequence.caps.Append(sequence.slot, old, plan_.caps);
  const uint32_t sent = std::min(old + 1, stay.limits.prompt);
  stay.limits.room = room;
  AppendTokens(stay, sent, plan_);
  plan_.rooms.push_back({sequence.slot, room});
}

bool Schedule::FollowDial(Sequence& sequence, uint32_t position) {
  const uint32_t stored = sequence.StoredPrefix();
  const bool is_news = sequence.FollowCap(position, dial_.cap());
  // From the first lowered cap on a sequence stores no prefix: whoever waits for more of it is let
  // go.
  if (is_news && sequence.StoredPrefix() < stored) prefixes_.StopLeading(sequence);
  return is_news;
}

Sequence* Schedule::LastPreemptible() {
  const auto last = std::find_if(running_.rbegin(), running_.rend(), [](const Sequence* sequence) {
    return sequence->IsPreemptible();
  });
  return last == running_.rend() ? nullptr : *last;
}

void Schedule::Preempt(Sequence& sequence) {
  std::erase_if(plan_.evicts, [&sequence](const Evict& e) { return e.slot == sequence.slot; });
  // The plan's copies into pages that `sequence` was given in it are dropped with those pages.
  std::erase_if(plan_.copies, [this, &sequence](const PageCopy& copy) {
    return std::any_of(plan_.pages.begin(), plan_.pages.end(), [&](const PageChange& p) {
      return p.slot == sequence.slot && p.page == copy.to;
    });
  });
  std::erase_if(plan_.pages, [&sequence](const PageChange& p) { return p.slot == sequence.slot; });
  Leave(sequence);
  queue_.Return(&sequence);
  ++sequence.stats.preemptions;
}

void Schedule::AdmitWaiting() {
  while (queue_.HasNext()) {
    Sequence& sequence = *queue_.Next();
    if (sequence.end == 0) {  // one prompt token and nothing to generate: no row has to run
      End(sequence, sequence.end_reason, absl::OkStatus());
      continue;
    }
    const uint32_t tokens = static_cast<uint32_t>(sequence.tokens.size());
    if (!stays_.HasFreeSlot() || (tokens > 1 && !stays_.HasFreeArea())) return;
    CachedPrefix prefix = prefixes_.Find(sequence);
    if (prefixes_.ParkNext(sequence, prefix.tokens, running_)) continue;
    if (!HasPagesFor(sequence, prefix)) {
      prefix = {};  // its pages may be the only ones that are left
      if (!HasPagesFor(sequence, prefix)) return;
    }
    AdmitNext(prefix);
  }
}

bool Schedule::HasPagesFor(const Sequence& sequence, const CachedPrefix& prefix) const {
  uint32_t shared = 0;
  uint32_t idle = 0;  // of the cached pages those that must stay
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    const uint32_t per_page = options_.entries_per_page[group];
    if (per_page > 0) shared += prefix.count[group] / per_page;
    for (const uint32_t page : prefix.pages[group]) idle += pool_.in_sequence(page) ? 0 : 1;
  }
  return PagesToAdmit(sequence) - shared <= pool_.free() + pool_.cached() - idle;
}

uint32_t Schedule::PagesToAdmit(const Sequence& sequence) const {
  const KvBudget& budget = sequence.request.budget;
  if (!sequence.IsPreemptible()) return tables_.PagesFor(sequence.end, budget);
  // Pages for the whole prompt and a token, although the sequence takes them chunk by chunk, and
  // for what is left of the prompts that run: a prompt that cannot be finished would only hold
  // pages.
  const uint32_t tokens = static_cast<uint32_t>(sequence.tokens.size());
  const uint32_t prompt = tables_.PagesFor(std::min(tokens + 1, sequence.end), budget);
  uint32_t headroom = 0;
  for (const Sequence* running : running_) {
    const Stay& stay = stays_.Current(running->slot);
    const SlotLimits& limits = stay.limits;
    const uint32_t known = std::min(limits.end, std::max(limits.room, limits.prompt));
    const uint32_t room = known + std::min(options_.headroom, limits.end - known);
    headroom += tables_.PagesLacking(running->slot, stay.state, room, running->request.budget);
  }
  return prompt + headroom;
}

void Schedule::AdmitNext(const CachedPrefix& prefix) {
  Sequence& sequence = *queue_.Next();
  queue_.TakeNext();
  // An endless sequence may stop long before its end, so nothing is reserved for that.
  if (sequence.end < options_.limits.max_positions) sequence.tokens.reserve(sequence.end + 1);
  const uint32_t tokens = static_cast<uint32_t>(sequence.tokens.size());
  Stay& stay = stays_.Begin(&sequence, tokens - prefix.tokens > 1, planned_, committed_);
  stay.state.stage = Stage::kEntry;
  stay.limits.prompt = tokens;
  stay.limits.end = sequence.end;
  stay.limits.chunk = options_.limits.chunk;
  // A span's rows with logits must fit under `ends` together.
  if (sequence.WantsPromptLogprobs()) {
    stay.limits.chunk = std::min(stay.limits.chunk, options_.limits.ends);
  }
  stay.boundary = sequence.request.budget.NextBoundary(0);
  prefixes_.Adopt(stay, prefix, plan_);
  stay.limits.room = WantedRoom(stay, planned_ - 1 - committed_, shape_);
  if (!sequence.IsPreemptible()) {
    tables_.Reserve(sequence.slot, sequence.end, sequence.request.budget);
  }
  RECURVE_CHECK(prefixes_.WithFreedPages(
      [&] { return tables_.Extend(sequence.slot, stay.state, stay.limits.room, plan_.pages); }));
  FollowDial(sequence, stay.state.position);
  AppendAdmission(stay, plan_);
  AppendTokens(stay, 0, plan_);
  Started(sequence);
  accounts_.CountPrefix(sequence, prefix, PrefixSharing::MayFind(sequence));
  sequence.TellRows(0, prefix.depths, {});
  const auto later = [](const Sequence* a, const Sequence* b) { return a->Precedes(*b); };
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, later), &sequence);
}

void Schedule::Started(Sequence& sequence) {
  const SteadyTime now = clock_->Now();
  if (sequence.told_rows > 0) sequence.recomputing_since = now;
  if (sequence.stats.admitted.has_value()) return;
  const uint64_t id = sequence.request.id;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.erase({*due, id});
  sequence.turn = admitted_++;
  sequence.stats.admitted = now;
  if (const auto due = sequence.DueTime(); due.has_value()) due_.emplace(*due, id);
  sequence.request.observer->OnStarted();
}

}  // namespace recurve
