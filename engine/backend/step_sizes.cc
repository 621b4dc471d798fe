// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/step_sizes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

constexpr uint64_t kWordBytes = sizeof(uint32_t);
template <typename Element>
constexpr uint64_t kWords = sizeof(Element) / kWordBytes;

}  // namespace

uint64_t PlanSizes::Words() const {
  constexpr uint64_t kHeader = 5;  // epoch, ends, ends_min, block_rows, prompt_rows
  return kHeader + drops * kWords<Drop> + admits * kWords<Admission> + evicts * kWords<Evict> +
         copies * kWords<PageCopy> + pages * kWords<PageChange> + tokens * kWords<TokenChange> +
         caps * kWords<CapChange> + rooms * kWords<RoomChange> + biases * kWords<TokenBias> +
         stop_ids * kWords<uint32_t>;
}

PlanSizes SizesOf(const StepPlan& plan) {
  return {plan.drops.size(),  plan.admits.size(),  plan.evicts.size(), plan.copies.size(),
          plan.pages.size(),  plan.tokens.size(),  plan.caps.size(),   plan.rooms.size(),
          plan.biases.size(), plan.stop_ids.size()};
}

PlanSizes MostOfPlan(const BackendLimits& limits) {
  const uint32_t changes = limits.plan_changes;
  PlanSizes most;
  most.drops = most.rooms = limits.slots;
  most.admits = std::min(limits.slots, changes);
  most.evicts = std::max(kMaxGroups, changes);
  most.copies = most.pages = most.tokens = most.caps = changes;
  most.biases = std::max(limits.max_biases, changes);
  most.stop_ids = std::max(limits.max_stop_ids, changes);
  return most;
}

absl::Status CheckPlanSizes(const StepPlan& plan, const BackendLimits& limits) {
  const PlanSizes found = SizesOf(plan);
  const PlanSizes most = MostOfPlan(limits);
  const struct {
    const char* name;
    uint64_t found, most;
  } lists[] = {{"drops", found.drops, most.drops},    {"admits", found.admits, most.admits},
               {"evicts", found.evicts, most.evicts}, {"copies", found.copies, most.copies},
               {"pages", found.pages, most.pages},    {"tokens", found.tokens, most.tokens},
               {"caps", found.caps, most.caps},       {"rooms", found.rooms, most.rooms},
               {"biases", found.biases, most.biases}, {"stop_ids", found.stop_ids, most.stop_ids}};
  for (const auto& list : lists) {
    if (list.found > list.most) {
      return absl::InternalError(absl::StrCat("plan: ", list.name, " holds ", list.found,
                                              ", expected at most ", list.most));
    }
  }
  return absl::OkStatus();
}

uint64_t ResultSizes::Words() const {
  constexpr uint64_t kHeader = 1 + kStepParts * (2 + 1);  // epoch, part_ns, part_rows
  return kHeader + outcomes * kWords<Outcome> + depths + logprobs * kWords<TokenLogprob>;
}

ResultSizes SizesOf(const StepResult& result) {
  return {result.outcomes.size(), result.depths.size(), result.logprobs.size()};
}

ResultSizes MostOfResult(const BackendLimits& limits) {
  return {limits.slots, uint64_t{limits.ends} + limits.prompt_rows,
          uint64_t{limits.ends} * (1 + uint64_t{limits.max_logprobs})};
}

}  // namespace recurve
