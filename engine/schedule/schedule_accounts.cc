// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/schedule_accounts.h"

#include <algorithm>

#include "engine/backend/model_shape.h"
#include "engine/base/check.h"

namespace recurve {
namespace {

// A row of the prompt is a token of it as well; a generated token is counted when it is sampled.
// `counts`: a SampleStats or ScheduleCounters.
template <typename Counts>
void CountRow(bool in_prompt, uint32_t depth, Counts& counts) {
  DepthCounts& depths = in_prompt ? counts.prompt_depth : counts.generated_depth;
  depths.AddRow(depth);
  if (in_prompt) depths.AddToken(depth);
}

}  // namespace

ScheduleAccounts::ScheduleAccounts(const StepShape& shape, const EntriesPerPage& entries_per_page)
    : shape_(shape), entries_per_page_(entries_per_page) {
  counters_.prompt_depth = counters_.generated_depth = DepthCounts::None(shape.recursions);
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    counters_.groups.emplace_back().name = GroupName(shape, group);
  }
}

void ScheduleAccounts::CountRows(Sequence& sequence, uint32_t position,
                                 std::span<const uint32_t> depths, SteadyTime now) {
  const uint32_t last = position + static_cast<uint32_t>(depths.size());
  const uint32_t first = sequence.FirstUntold(position, last);
  sequence.stats.recomputed_tokens += first - position;
  counters_.recomputed_tokens += first - position;
  for (uint32_t row = first; row < last; ++row) {
    const uint32_t depth = depths[row - position];
    RECURVE_CHECK(0 < depth && depth <= shape_.recursions);
    CountRow(row < sequence.prompt, depth, sequence.stats);
    CountRow(row < sequence.prompt, depth, counters_);
    CountLowered(sequence, row, depth);
  }
  if (last >= sequence.told_rows) sequence.StopRecomputing(now);
}

void ScheduleAccounts::CountLowered(Sequence& sequence, uint32_t row, uint32_t depth) {
  const uint32_t cap = sequence.caps.At(row);
  const uint32_t own = sequence.caps.OwnAt(row);
  if (cap >= own) return;
  SampleStats& stats = sequence.stats;
  stats.lowest_cap = stats.lowered_tokens == 0 ? cap : std::min(stats.lowest_cap, cap);
  ++stats.lowered_tokens;
  ++counters_.lowered_tokens;
  if (depth == cap) counters_.recursions_given_up += own - cap;
}

void ScheduleAccounts::CountToken(Sequence& sequence, uint32_t depth, SteadyTime now) {
  SampleStats& stats = sequence.stats;
  stats.last_token = now;
  if (!stats.first_token.has_value()) stats.first_token = now;
  ++stats.generated_tokens;
  stats.generated_depth.AddToken(depth);
  ++counters_.generated_tokens;
  counters_.generated_depth.AddToken(depth);
}

void ScheduleAccounts::CountPrefix(Sequence& sequence, const CachedPrefix& prefix, bool looked_up) {
  SampleStats& stats = sequence.stats;
  if (stats.preemptions == 0) {
    if (looked_up) counters_.prefix_tokens_wanted += sequence.tokens.size();
    counters_.prefix_tokens_found += prefix.tokens;
    stats.cached_tokens = prefix.tokens;
  }
  const uint32_t last = std::min(prefix.tokens, sequence.prompt);
  for (uint32_t row = sequence.FirstUntold(0, prefix.tokens); row < last; ++row) {
    CountRow(/*in_prompt=*/true, prefix.depths[row], stats);
  }
}

void ScheduleAccounts::CountEvictions(const StepPlan& plan, const Stays& stays) {
  for (const Evict& evict : plan.evicts) {
    auto& evicted = counters_.groups[evict.group].evicted;
    const uint32_t entries = evict.count - evict.keep;
    switch (stays.Current(evict.slot).sequence->sample.budget.policy) {
      case EvictionPolicy::kNone:
        break;
      case EvictionPolicy::kWindow:
        evicted.window += entries;
        break;
      case EvictionPolicy::kAttention:
        evicted.attention += entries;
        break;
      case EvictionPolicy::kRouter:
        evicted.router += entries;
        break;
    }
  }
}

void ScheduleAccounts::RaisePeaks(std::span<Sequence* const> running, const Stays& stays,
                                  const PageTables& tables) {
  CountEntries(running, stays, tables);
  for (ScheduleCounters::Group& group : counters_.groups) {
    group.filled_peak = std::max(group.filled_peak, group.filled);
  }
  counters_.pages_filled_peak = std::max(counters_.pages_filled_peak, counters_.pages_filled);
}

ScheduleCounters& ScheduleAccounts::Now(std::span<Sequence* const> running, const Stays& stays,
                                        const PageTables& tables) {
  CountEntries(running, stays, tables);
  return counters_;
}

void ScheduleAccounts::CountEntries(std::span<Sequence* const> running, const Stays& stays,
                                    const PageTables& tables) {
  counters_.pages_filled = 0;
  counters_.pages_packed = 0.0;
  for (uint32_t group = 0; group < shape_.groups(); ++group) {
    ScheduleCounters::Group& counted = counters_.groups[group];
    counted.entries = counted.filled = 0;
    for (const Sequence* sequence : running) {
      const uint32_t entries = stays.Current(sequence->slot).state.count[group];
      counted.entries += entries;
      counted.filled += tables.GroupPagesFor(group, entries);
    }
    counted.reserved = tables.group_pages(group);
    counters_.pages_filled += counted.filled;
    const uint32_t per_page = entries_per_page_[group];
    if (per_page > 0) counters_.pages_packed += static_cast<double>(counted.entries) / per_page;
  }
}

}  // namespace recurve
