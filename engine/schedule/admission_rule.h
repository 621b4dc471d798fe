// SPDX-License-Identifier: Apache-2.0
// Whom the schedule admits into a slot.
#ifndef RECURVE_ENGINE_SCHEDULE_ADMISSION_RULE_H_
#define RECURVE_ENGINE_SCHEDULE_ADMISSION_RULE_H_

#include <cstdint>
#include <span>

#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/kv/prefix_cache.h"
#include "engine/schedule/options.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/stays.h"

namespace recurve {

// The queue's next is admitted when a slot, for a prompt of several tokens an area, and pages for
// the whole prompt and the others' headroom are free; pages of cached prefixes are as good as free.
// A sequence that can no longer be preempted needs pages for all that it may become. Only looks:
// all that it borrows outlives it. Thread-compatible.
class AdmissionRule {
 public:
  AdmissionRule(const ScheduleOptions& options, const Stays* stays, const PagePool* pool,
                const PageTables* tables)
      : headroom_(options.headroom),
        entries_per_page_(options.entries_per_page),
        stays_(stays),
        pool_(pool),
        tables_(tables) {}

  // Whether there are a slot and, if `next` needs one, an area.
  bool HasSlotFor(const Sequence& next) const;

  // Whether there are pages for `next` if it takes those of `prefix`, which may be empty. running:
  // all sequences that are in a slot, here and below.
  bool HasPagesFor(const Sequence& next, const CachedPrefix& prefix,
                   std::span<Sequence* const> running) const;

  // Whether `next` could be admitted at once, without a prefix.
  bool CanAdmit(const Sequence& next, std::span<Sequence* const> running) const;

  // Whether it could be if all of lower priority that may be preempted gave up what they have.
  bool CanAdmitInPlaceOfOthers(const Sequence& next, std::span<Sequence* const> running) const;

 private:
  // Pages that `next` must have, or be able to get.
  uint32_t PagesToAdmit(const Sequence& next, std::span<Sequence* const> running) const;

  const uint32_t headroom_;
  const EntriesPerPage entries_per_page_;
  const Stays* const stays_;
  const PagePool* const pool_;
  const PageTables* const tables_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_ADMISSION_RULE_H_
