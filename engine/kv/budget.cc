// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/budget.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr std::pair<std::string_view, EvictionPolicy> kPolicies[] = {
    {"none", EvictionPolicy::kNone},
    {"window", EvictionPolicy::kWindow},
    {"attention", EvictionPolicy::kAttention},
    {"router", EvictionPolicy::kRouter}};

absl::Status Invalid(std::string_view item, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("kv_budget: \"", Quotable(item), "\"; expected ", std::string(expected)));
}

absl::StatusOr<uint32_t> ParseGroup(std::string_view item, std::string_view name,
                                    const StepShape& shape) {
  if (name == "entry") return shape.entry_group();
  if (name == "exit") return shape.exit_group();
  uint32_t recursion = 0;
  const bool is_number = absl::SimpleAtoi(std::string(name), &recursion);
  if (is_number && recursion >= 1 && recursion < shape.exit_group()) return recursion;
  const uint32_t last = shape.exit_group() - 1;
  const std::string recursions = last == 1 ? "1" : absl::StrCat("1 to ", last);
  return Invalid(item, absl::StrCat("a group, which is entry, ", recursions, " or exit"));
}

absl::StatusOr<GroupBudget> ParseGroupBudget(std::string_view item, std::string_view value) {
  GroupBudget budget;
  const bool is_share = !value.empty() && value.back() == '%';
  if (is_share) value.remove_suffix(1);
  uint32_t number = 0;
  const bool is_number = absl::SimpleAtoi(std::string(value), &number);
  if (!is_number || number < 1 || (is_share && number > 99)) {
    return Invalid(item, "at least 1 entry, or 1% to 99%");
  }
  (is_share ? budget.percent : budget.entries) = number;
  return budget;
}

}  // namespace

bool KvBudget::limited() const {
  return policy != EvictionPolicy::kNone &&
         std::any_of(groups.begin(), groups.end(),
                     [](const GroupBudget& g) { return g.limited(); });
}

bool KvBudget::bounds_all(std::span<const uint32_t> entries_per_page) const {
  if (policy == EvictionPolicy::kNone) return false;
  for (size_t group = 0; group < entries_per_page.size(); ++group) {
    if (entries_per_page[group] > 0 && groups[group].entries == 0) return false;
  }
  return true;
}

uint32_t KvBudget::NextBoundary(uint32_t position) const {
  if (!limited()) return kNoBoundary;
  const uint64_t next = (uint64_t{position} / every + 1) * every;
  return static_cast<uint32_t>(std::min<uint64_t>(next, kNoBoundary));
}

uint32_t KvBudget::Keep(uint32_t group, uint32_t position) const {
  const GroupBudget& budget = groups[group];
  if (policy == EvictionPolicy::kNone || !budget.limited()) return kNoBoundary;
  if (budget.entries > 0) return budget.entries;
  const auto share = static_cast<uint32_t>(uint64_t{position} * budget.percent / 100);
  return std::max({share, sinks + recent, 1U});
}

uint32_t KvBudget::MostEntries(uint32_t group, uint32_t tokens) const {
  if (policy == EvictionPolicy::kNone || !groups[group].limited() || tokens <= every) return tokens;
  // A group holds the most just before the last boundary, or at the end.
  const uint32_t last = tokens / every * every;
  const uint64_t before = last == every ? every : uint64_t{Keep(group, last - every)} + every;
  const uint64_t after = uint64_t{Keep(group, last)} + (tokens - last);
  return static_cast<uint32_t>(std::min<uint64_t>(tokens, std::max(before, after)));
}

absl::Status ParseKvBudget(std::string_view text, const StepShape& shape, KvBudget& budget) {
  budget.groups = {};
  if (text.empty()) return absl::OkStatus();
  for (const absl::string_view piece : absl::StrSplit(std::string(text), ',')) {
    const std::string_view item(piece.data(), piece.size());
    const size_t colon = item.find(':');
    if (colon == std::string_view::npos) return Invalid(item, "GROUP:ENTRIES or GROUP:PERCENT%");
    ASSIGN_OR_RETURN(const uint32_t group, ParseGroup(item, item.substr(0, colon), shape));
    if (budget.groups[group].limited()) return Invalid(item, "each group once");
    ASSIGN_OR_RETURN(budget.groups[group], ParseGroupBudget(item, item.substr(colon + 1)));
  }
  return absl::OkStatus();
}

absl::StatusOr<EvictionPolicy> ParseEvictionPolicy(std::string_view name) {
  for (const auto& [known, policy] : kPolicies) {
    if (name == known) return policy;
  }
  return absl::InvalidArgumentError(absl::StrCat("kv_eviction is \"", Quotable(name),
                                                 "\"; expected none, window, attention or router"));
}

std::string_view EvictionPolicyName(EvictionPolicy policy) {
  for (const auto& [name, known] : kPolicies) {
    if (policy == known) return name;
  }
  return "";
}

}  // namespace recurve
