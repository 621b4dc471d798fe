// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/prefix_sharing.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "engine/base/check.h"

namespace recurve {
namespace {

// How many tokens at the beginning of both are the same, in whole nodes of the cache.
uint32_t CommonTokens(std::span<const uint32_t> a, std::span<const uint32_t> b,
                      uint32_t node_tokens) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<uint32_t>(end - a.begin()) / node_tokens * node_tokens;
}

// A sequence that can no longer be preempted was admitted with all the pages that it will need. Of
// pages that it shared it would need copies before it could drop entries, which are not counted in.
bool MayShare(const Sequence& sequence) {
  return sequence.IsPreemptible() || !sequence.sample.budget.limited();
}

// The tokens whose entries `sequence` could take from others.
std::span<const uint32_t> Findable(const Sequence& sequence) {
  // The last token always runs, since the cache keeps no logits of it. Tokens that ran under a
  // lowered cap run again under that cap, and not with what others computed without it.
  const uint32_t shareable =
      std::min(sequence.prefix_state.shareable, sequence.caps.FirstLowered());
  const size_t tokens = std::min<size_t>(sequence.tokens.size() - 1, shareable);
  return std::span(sequence.tokens).first(tokens);
}

}  // namespace

PrefixSharing::PrefixSharing(const ScheduleOptions& options, const StepShape& shape, PagePool* pool,
                             PageTables* tables, WaitingQueue* queue)
    : shape_(shape),
      pool_(pool),
      tables_(tables),
      queue_(queue),
      cache_(pool, shape, options.entries_per_page, options.prefix_node_tokens) {}

bool PrefixSharing::MayFind(const Sequence& sequence) {
  return sequence.prefix_state.finds && MayShare(sequence);
}

const CachedPrefix& PrefixSharing::Find(const Sequence& sequence) {
  std::span<const uint32_t> tokens;  // stays empty, and finds nothing, unless it may
  if (MayFind(sequence)) tokens = Findable(sequence);
  return cache_.Find(sequence.prefix_state.realm, tokens);
}

bool PrefixSharing::ParkNext(Sequence& sequence, uint32_t found,
                             std::span<Sequence* const> running) {
  if (!MayFind(sequence)) return false;
  PrefixState& state = sequence.prefix_state;
  const std::span<const uint32_t> wanted = Findable(sequence);
  state.leader = nullptr;
  state.awaited = found;
  for (const Sequence* other : running) {
    const PrefixState& theirs = other->prefix_state;
    const uint32_t stores = other->StoredPrefix();
    if (stores < found + cache_.node_tokens() || theirs.realm != state.realm) continue;
    const size_t given = std::min<size_t>(other->tokens.size(), stores);
    const uint32_t common =
        CommonTokens(wanted, std::span(other->tokens).first(given), cache_.node_tokens());
    // A leader stores each node once. A node that it has stored and that the cache has forgotten
    // since will not come again, so waiting for it is useless.
    if (common <= state.awaited || theirs.stored >= common) continue;
    state.leader = other;
    state.awaited = common;
  }
  if (state.leader == nullptr) return false;
  queue_->ParkNext();
  return true;
}

void PrefixSharing::CallBack(const Sequence& leader, uint32_t stored) {
  queue_->Unpark([&leader, stored](const Sequence& parked) {
    return parked.prefix_state.leader == &leader && parked.prefix_state.awaited <= stored;
  });
}

void PrefixSharing::StopLeading(const Sequence& leader) {
  CallBack(leader, std::numeric_limits<uint32_t>::max());
}

void PrefixSharing::Adopt(Stay& stay, const CachedPrefix& prefix) {
  Sequence& sequence = *stay.sequence;
  stay.state.position = prefix.tokens;
  std::copy(prefix.count.begin(), prefix.count.end(), stay.state.count);
  // WithFreedPages frees pages for the copies by forgetting cached prefixes, perhaps this very one.
  // Its pages are held until the sequence owns them.
  for (const auto& pages : prefix.pages) pool_->Share(pages);
  RECURVE_CHECK(WithFreedPages([&] { return tables_->Adopt(sequence.slot, prefix); }));
  for (const auto& pages : prefix.pages) pool_->Free(pages);
  PrefixState& state = sequence.prefix_state;
  state.stored = prefix.tokens;
  if (state.depths.size() < prefix.tokens) {
    state.depths = prefix.depths;
    state.counts = prefix.counts;
  }
}

void PrefixSharing::Store(Sequence& sequence, uint32_t position, std::span<const uint32_t> depths) {
  PrefixState& state = sequence.prefix_state;
  const uint32_t end =
      std::min(position + static_cast<uint32_t>(depths.size()), sequence.StoredPrefix());
  while (state.depths.size() < end) {
    state.depths.push_back(depths[state.depths.size() - position]);
    if (state.depths.size() % cache_.node_tokens() == 0) CountNode(state);
  }
  const uint32_t whole = end / cache_.node_tokens() * cache_.node_tokens();
  if (whole <= state.stored || !MayShare(sequence)) return;
  std::vector<std::span<const uint32_t>> tables;
  tables.reserve(shape_.groups());
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    tables.push_back(tables_->pages(sequence.slot, group));
  }
  cache_.Add(state.realm, std::span(sequence.tokens).first(whole),
             std::span(state.counts).first(whole / cache_.node_tokens()),
             std::span(state.depths).first(whole), tables);
  state.stored = whole;
  CallBack(sequence, whole);
}

void PrefixSharing::CountNode(PrefixState& state) const {
  std::array<uint32_t, kMaxGroups> count{};
  if (!state.counts.empty()) count = state.counts.back();
  for (size_t i = state.depths.size() - cache_.node_tokens(); i < state.depths.size(); ++i) {
    ++count[shape_.entry_group()];
    ++count[shape_.exit_group()];
    for (uint32_t recursion = 1; recursion <= state.depths[i]; ++recursion) {
      if (shape_.appends(recursion)) ++count[shape_.group(recursion)];
    }
  }
  state.counts.push_back(count);
}

bool PrefixSharing::WithFreedPages(absl::FunctionRef<bool()> attempt) {
  while (!attempt()) {
    if (!cache_.ForgetOldest()) return false;
  }
  return true;
}

}  // namespace recurve
