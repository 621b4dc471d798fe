// SPDX-License-Identifier: Apache-2.0
// What prompts have in common is computed once.
#ifndef RECURVE_ENGINE_SCHEDULE_PREFIX_SHARING_H_
#define RECURVE_ENGINE_SCHEDULE_PREFIX_SHARING_H_

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "engine/backend/step.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/page_tables.h"
#include "engine/kv/prefix_cache.h"
#include "engine/schedule/options.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/waiting_queue.h"

namespace recurve {

// What a sequence computes of its prompt is kept in the cache, node by node, for others that
// begin in the same way: they take its pages and run only the rest. A sequence whose prefix is
// being computed by another one, its leader, is parked in the queue until the cache has it. Cached
// prefixes that nobody uses go before anybody is held or preempted.
//
// Owns the cache. Borrows the pool, the slots' tables and the queue, which outlive it.
// Thread-compatible.
class PrefixSharing {
 public:
  PrefixSharing(const ScheduleOptions& options, const StepShape& shape, PagePool* pool,
                PageTables* tables, WaitingQueue* queue);

  // Whether `sequence` may take what others have stored.
  static bool MayFind(const Sequence& sequence);

  // What is cached of the tokens that `sequence` may take from others; valid until the next Find.
  // Counts as a use.
  const CachedPrefix& Find(const Sequence& sequence);

  // Parks `sequence`, the queue's next, for which `found` tokens are cached, if one of `running` is
  // computing more of its prefix. Whether it has done so.
  bool ParkNext(Sequence& sequence, uint32_t found, std::span<Sequence* const> running);

  // Has `stay`, which has no pages yet, begin behind `prefix`, whose tokens were found for it.
  // There must be pages for the copies, cached ones included.
  void Adopt(Stay& stay, const CachedPrefix& prefix);

  // The tokens of `sequence` from `position` on have run; depths: the recursions of each. Stores
  // what has become a whole node, and calls back those who wait for it.
  void Store(Sequence& sequence, uint32_t position, std::span<const uint32_t> depths);

  // `leader` will store no more: calls back all who wait for it.
  void StopLeading(const Sequence& leader);

  // Tries until it succeeds, and forgets a cached prefix after each time that it does not. False:
  // there is none left.
  bool WithFreedPages(absl::FunctionRef<bool()> attempt);

 private:
  // Appends the entries of the last node of state.depths.
  void CountNode(PrefixState& state) const;
  // Calls back those who wait for no more than the first `stored` tokens of `leader`.
  void CallBack(const Sequence& leader, uint32_t stored);

  const StepShape shape_;
  PagePool* const pool_;
  PageTables* const tables_;
  WaitingQueue* const queue_;
  PrefixCache cache_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_PREFIX_SHARING_H_
