// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/admission_rule.h"

#include <algorithm>

#include "engine/kv/budget.h"

namespace recurve {
namespace {

bool WantsArea(const Sequence& sequence) { return sequence.tokens.size() > 1; }

}  // namespace

bool AdmissionRule::HasSlotFor(const Sequence& next) const {
  return stays_->HasFreeSlot() && (!WantsArea(next) || stays_->HasFreeArea());
}

bool AdmissionRule::HasPagesFor(const Sequence& next, const CachedPrefix& prefix,
                                std::span<Sequence* const> running) const {
  uint32_t shared = 0;
  uint32_t idle = 0;  // of the cached pages those that must stay
  for (uint32_t group = 0; group < kMaxGroups; ++group) {
    const uint32_t per_page = entries_per_page_[group];
    if (per_page > 0) shared += prefix.count[group] / per_page;
    for (const uint32_t page : prefix.pages[group]) idle += pool_->in_sequence(page) ? 0 : 1;
  }
  return PagesToAdmit(next, running) - shared <= pool_->free() + pool_->cached() - idle;
}

bool AdmissionRule::CanAdmit(const Sequence& next, std::span<Sequence* const> running) const {
  return HasSlotFor(next) && HasPagesFor(next, {}, running);
}

bool AdmissionRule::CanAdmitInPlaceOfOthers(const Sequence& next,
                                            std::span<Sequence* const> running) const {
  bool slot = stays_->HasFreeSlot();
  bool area = stays_->HasFreeArea();
  uint32_t pages = pool_->free() + pool_->cached();
  for (const Sequence* other : running) {
    if (other->sample.priority <= next.sample.priority || !other->IsPreemptible()) continue;
    slot = true;
    area |= stays_->Current(other->slot).area != kNoArea;
    pages += tables_->own_pages(other->slot);
  }
  return slot && (area || !WantsArea(next)) && PagesToAdmit(next, running) <= pages;
}

uint32_t AdmissionRule::PagesToAdmit(const Sequence& next,
                                     std::span<Sequence* const> running) const {
  const KvBudget& budget = next.sample.budget;
  if (!next.IsPreemptible()) return tables_->PagesFor(next.end, budget);
  // Pages for the whole prompt and a token, although the sequence takes them chunk by chunk, and
  // for what is left of the prompts that run: a prompt that cannot be finished would only hold
  // pages.
  const uint32_t tokens = static_cast<uint32_t>(next.tokens.size());
  const uint32_t prompt = tables_->PagesFor(std::min(tokens + 1, next.end), budget);
  uint32_t headroom = 0;
  for (const Sequence* other : running) {
    const Stay& stay = stays_->Current(other->slot);
    const SlotLimits& limits = stay.limits;
    const uint32_t known = std::min(limits.end, std::max(limits.room, limits.prompt));
    const uint32_t room = known + std::min(headroom_, limits.end - known);
    headroom += tables_->PagesLacking(other->slot, stay.state, room, other->sample.budget);
  }
  return prompt + headroom;
}

}  // namespace recurve
