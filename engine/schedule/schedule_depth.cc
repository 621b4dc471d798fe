// SPDX-License-Identifier: Apache-2.0
// Schedule's part that gives up depth for time.
#include <algorithm>

#include "engine/schedule/schedule.h"

namespace recurve {

void Schedule::TurnDial() {
  if (!dial_.has_value()) return;
  const SteadyTime now = clock_->Now();
  dial_->Turn(now, now - queue_.OldestArrival().value_or(now));
}

bool Schedule::FollowDial(Sequence& sequence, uint32_t position) {
  const auto& least = sequence.request.adaptive_min;
  if (!dial_.has_value() || !least.has_value()) return false;
  // Rows that were told were computed under the caps of that time, and keep them if a preemption
  // has them computed again.
  const uint32_t first = std::max(position, sequence.told_rows);
  const uint32_t stored = sequence.StoredPrefix();
  const bool is_news = sequence.caps.Limit(first, std::max(dial_->cap(), *least));
  // From the first lowered cap on a sequence stores no prefix: whoever waits for more of it is let
  // go.
  if (sequence.StoredPrefix() < stored) prefixes_.StopLeading(sequence);
  return is_news;
}

}  // namespace recurve
