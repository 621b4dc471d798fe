// SPDX-License-Identifier: Apache-2.0
// Schedule's part that shares prefixes.
#include <algorithm>
#include <span>
#include <utility>

#include "engine/base/check.h"
#include "engine/schedule/schedule.h"

namespace recurve {
namespace {

// How many tokens at the beginning of both are the same, in whole chunks.
uint32_t CommonTokens(std::span<const uint32_t> a, std::span<const uint32_t> b, uint32_t chunk) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<uint32_t>(end - a.begin()) / chunk * chunk;
}

}  // namespace

CachedPrefix Schedule::FindPrefix(const Sequence& sequence) {
  if (!MayFind(sequence)) return {};
  return prefixes_.Find(sequence.prefix_state.realm, Findable(sequence));
}

bool Schedule::MayFind(const Sequence& sequence) const {
  return sequence.prefix_state.finds && MayShare(sequence);
}

// A sequence that can no longer be preempted was admitted with all the pages that it will need. Of
// pages that it shared it would need copies before it could drop entries, which are not counted in.
bool Schedule::MayShare(const Sequence& sequence) const {
  return IsPreemptible(sequence) || !sequence.request.budget.limited();
}

std::span<const uint32_t> Schedule::Findable(const Sequence& sequence) const {
  // The last token always runs, since the cache keeps no logits of it. Tokens that ran under a
  // lowered cap run again under that cap, and not with what others computed without it.
  const uint32_t shareable =
      std::min(sequence.prefix_state.shareable, sequence.caps.FirstLowered());
  const size_t tokens = std::min<size_t>(sequence.tokens.size() - 1, shareable);
  return std::span(sequence.tokens).first(tokens);
}

bool Schedule::ParkForPrefix(Sequence& sequence, uint32_t found) {
  if (!MayFind(sequence)) return false;
  PrefixState& state = sequence.prefix_state;
  const std::span<const uint32_t> wanted = Findable(sequence);
  state.leader = nullptr;
  state.awaited = found;
  for (const Sequence* other : running_) {
    const PrefixState& theirs = other->prefix_state;
    const uint32_t stores = other->StoredPrefix();
    if (stores < found + prefixes_.chunk() || theirs.realm != state.realm) continue;
    const size_t given = std::min<size_t>(other->tokens.size(), stores);
    const uint32_t common =
        CommonTokens(wanted, std::span(other->tokens).first(given), prefixes_.chunk());
    // A leader stores each chunk once. A chunk that it has stored and that the cache has forgotten
    // since will not come again, so waiting for it is useless.
    if (common <= state.awaited || theirs.stored >= common) continue;
    state.leader = other;
    state.awaited = common;
  }
  if (state.leader == nullptr) return false;
  queue_.ParkNext();
  return true;
}

void Schedule::Unpark(const Sequence& leader, uint32_t stored) {
  queue_.Unpark([&leader, stored](const Sequence& parked) {
    return parked.prefix_state.leader == &leader && parked.prefix_state.awaited <= stored;
  });
}

void Schedule::AdoptPrefix(Stay& stay, const CachedPrefix& prefix) {
  Sequence& sequence = *stay.sequence;
  stay.state.position = prefix.tokens;
  std::copy(prefix.count.begin(), prefix.count.end(), stay.state.count);
  // WithFreedPages frees pages for the copies by forgetting cached prefixes, perhaps this very one.
  // Its pages are held until the sequence owns them.
  for (const auto& pages : prefix.pages) pool_.Share(pages);
  RECURVE_CHECK(WithFreedPages(
      [&] { return tables_.Adopt(sequence.slot, prefix, plan_.copies, plan_.pages); }));
  for (const auto& pages : prefix.pages) pool_.Free(pages);
  PrefixState& state = sequence.prefix_state;
  state.stored = prefix.tokens;
  if (state.depths.size() < prefix.tokens) {
    state.depths = prefix.depths;
    state.counts = prefix.counts;
  }
}

void Schedule::TellPrefix(Sequence& sequence, const CachedPrefix& prefix) {
  const bool is_first = sequence.stats.preemptions == 0;
  if (MayFind(sequence) && is_first) counters_.prefix_tokens_wanted += sequence.tokens.size();
  if (prefix.tokens == 0) return;
  if (is_first) {
    sequence.stats.cached_tokens = prefix.tokens;
    counters_.prefix_tokens_found += prefix.tokens;
  }
  const uint32_t first = std::min(sequence.told_rows, prefix.tokens);
  const uint32_t last = std::min(prefix.tokens, sequence.prompt);
  for (uint32_t row = first; row < last; ++row) {
    sequence.stats.prompt_depth.AddToken(prefix.depths[row]);
    sequence.stats.prompt_depth.AddRow(prefix.depths[row]);
  }
  sequence.told_rows = std::max(sequence.told_rows, prefix.tokens);
  if (first >= last) return;
  sequence.request.observer->OnPrompt(
      {first, std::span(prefix.depths).subspan(first, last - first), {}});
}

void Schedule::StorePrefix(Sequence& sequence, uint32_t position,
                           std::span<const uint32_t> depths) {
  PrefixState& state = sequence.prefix_state;
  const uint32_t end =
      std::min(position + static_cast<uint32_t>(depths.size()), sequence.StoredPrefix());
  while (state.depths.size() < end) {
    state.depths.push_back(depths[state.depths.size() - position]);
    if (state.depths.size() % prefixes_.chunk() == 0) CountChunk(state);
  }
  const uint32_t whole = end / prefixes_.chunk() * prefixes_.chunk();
  if (whole <= state.stored || !MayShare(sequence)) return;
  std::vector<std::span<const uint32_t>> tables;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    tables.push_back(tables_.pages(sequence.slot, group));
  }
  prefixes_.Add(state.realm, std::span(sequence.tokens).first(whole),
                std::span(state.counts).first(whole / prefixes_.chunk()),
                std::span(state.depths).first(whole), tables);
  state.stored = whole;
  Unpark(sequence, whole);
}

void Schedule::CountChunk(PrefixState& state) const {
  std::array<uint32_t, kMaxGroups> count{};
  if (!state.counts.empty()) count = state.counts.back();
  for (size_t i = state.depths.size() - prefixes_.chunk(); i < state.depths.size(); ++i) {
    ++count[shape_.entry_group()];
    ++count[shape_.exit_group()];
    for (uint32_t recursion = 1; recursion <= state.depths[i]; ++recursion) {
      if (shape_.appends(recursion)) ++count[shape_.group(recursion)];
    }
  }
  state.counts.push_back(count);
}

bool Schedule::WithFreedPages(absl::FunctionRef<bool()> attempt) {
  while (!attempt()) {
    if (!prefixes_.ForgetOldest()) return false;
  }
  return true;
}

}  // namespace recurve
