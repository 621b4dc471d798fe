// SPDX-License-Identifier: Apache-2.0
// How many entries a sequence may keep in each cache group, and when the rest goes.
#ifndef RECURVE_ENGINE_KV_BUDGET_H_
#define RECURVE_ENGINE_KV_BUDGET_H_

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/backend/step.h"

namespace recurve {

inline constexpr uint32_t kNoBoundary = std::numeric_limits<uint32_t>::max();

// Of one group: unlimited, a number of entries, or a share of the sequence's length.
struct GroupBudget {
  uint32_t entries = 0;  // 0: no such limit
  uint32_t percent = 0;  // 0: no such limit; else 1 .. 99
  bool limited() const { return entries > 0 || percent > 0; }
};

// Entries are dropped at positions that are multiples of `every` and nowhere else, so that what a
// sequence keeps is a function of the sequence alone. In between a group may hold `every` entries
// more than its budget. A plain value; thread-safe.
struct KvBudget {
  EvictionPolicy policy = EvictionPolicy::kNone;
  uint32_t sinks = 0;   // the group's first entries, which stay
  uint32_t recent = 0;  // its last ones, which stay
  uint32_t every = 256;
  std::array<GroupBudget, kMaxGroups> groups{};

  // Whether any group may have to drop entries.
  bool limited() const;
  // Whether each group that has pages is bounded by a number of entries, so that a sequence of any
  // length fits. entries_per_page [groups].
  bool bounds_all(std::span<const uint32_t> entries_per_page) const;

  // The first boundary after `position`; kNoBoundary if there is none.
  uint32_t NextBoundary(uint32_t position) const;
  // Entries that `group` keeps at the boundary `position`, if it holds more.
  uint32_t Keep(uint32_t group, uint32_t position) const;
  // The most entries that `group` can come to hold in a sequence of up to `tokens` tokens.
  uint32_t MostEntries(uint32_t group, uint32_t tokens) const;
};

// "entry:64,1:50%,exit:128": groups by name (entry, 1 .. recursions, exit), each with a number of
// entries or a share of the sequence's length. Fills in `budget`. InvalidArgument names what is
// wrong; the policy is not looked at.
absl::Status ParseKvBudget(std::string_view text, const StepShape& shape, KvBudget& budget);

// "none", "window", "attention" or "router". InvalidArgument names the four.
absl::StatusOr<EvictionPolicy> ParseEvictionPolicy(std::string_view name);
std::string_view EvictionPolicyName(EvictionPolicy policy);

}  // namespace recurve

#endif  // RECURVE_ENGINE_KV_BUDGET_H_
