// SPDX-License-Identifier: Apache-2.0
// What the schedule counts.
#ifndef RECURVE_ENGINE_SCHEDULE_SCHEDULE_ACCOUNTS_H_
#define RECURVE_ENGINE_SCHEDULE_SCHEDULE_ACCOUNTS_H_

#include <cstdint>
#include <span>

#include "engine/api/output.h"
#include "engine/api/snapshot.h"
#include "engine/backend/step.h"
#include "engine/base/steady_time.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/kv/prefix_cache.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/stays.h"

namespace recurve {

// Counts each event twice, for its sequence (Sequence::stats) and for all since the start, so that
// the two agree. What has a value at this moment, such as the pages that hold entries, is counted
// anew when it is asked for, and after each step for its peak. Thread-compatible.
class ScheduleAccounts {
 public:
  ScheduleAccounts(const StepShape& shape, const EntriesPerPage& entries_per_page);

  // Rows of `sequence` from `position` on have run; depths: the recursions of each. Those below
  // told_rows, which the observer knows, ran again after a preemption, and are counted as that.
  void CountRows(Sequence& sequence, uint32_t position, std::span<const uint32_t> depths,
                 SteadyTime now);

  // A token was sampled from a row of `depth` recursions.
  void CountToken(Sequence& sequence, uint32_t depth, SteadyTime now);

  // `sequence` was admitted with `prefix` of its tokens from the cache. looked_up: it may have
  // found some. Rows that the observer knows, those below told_rows, do not count again.
  void CountPrefix(Sequence& sequence, const CachedPrefix& prefix, bool looked_up);

  // The evictions of a plan, when nobody can be preempted in it any more.
  void CountEvictions(const StepPlan& plan, const Stays& stays);

  void CountPreemptionForMemory() { ++counters_.preemptions_for_memory; }
  void CountPreemptionForPriority() { ++counters_.preemptions_for_priority; }

  // A plan had no space for all that was to be told.
  void CountFullPlan() { ++counters_.full_plans; }

  // A sample ends with `stats`.
  void CountEnd(const SampleStats& stats) { counters_.recompute_time += stats.recompute_time; }

  // After a step, while the sequences that end in it still have their pages. running: all that are
  // in a slot.
  void RaisePeaks(std::span<Sequence* const> running, const Stays& stays, const PageTables& tables);

  // What was counted, and the entries and filled pages of this moment, until the next call. The
  // rest is the caller's to fill in: the queue's numbers, the pool's and the dial's.
  ScheduleCounters& Now(std::span<Sequence* const> running, const Stays& stays,
                        const PageTables& tables);

 private:
  void CountLowered(Sequence& sequence, uint32_t row, uint32_t depth);
  // Fills in what is known of pages and entries at this moment.
  void CountEntries(std::span<Sequence* const> running, const Stays& stays,
                    const PageTables& tables);

  const StepShape shape_;
  const EntriesPerPage entries_per_page_;
  ScheduleCounters counters_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_SCHEDULE_ACCOUNTS_H_
