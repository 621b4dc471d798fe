// SPDX-License-Identifier: Apache-2.0
#include "engine/make_budget.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// Whether the model can drop entries by this policy.
absl::Status CheckModel(EvictionPolicy policy, const ModelConfig& config) {
  if (config.kv_mode == KvMode::kSharedUpdate) {
    return absl::InvalidArgumentError(
        "kv_eviction must be none for this model: its recursions update shared entries");
  }
  if (policy == EvictionPolicy::kRouter && config.router.type == RouterType::kNone) {
    return absl::InvalidArgumentError("kv_eviction is router, but this model has no router");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<KvBudget> MakeBudget(const EvictionOptions& options, const Request& request,
                                    const ModelConfig& config) {
  KvBudget budget;
  ASSIGN_OR_RETURN(budget.policy,
                   ParseEvictionPolicy(request.kv_eviction.value_or(options.policy)));
  if (budget.policy == EvictionPolicy::kNone) {
    const bool is_given = request.kv_budget ? !request.kv_budget->empty()
                                            : !request.kv_eviction && !options.budget.empty();
    if (is_given) {
      return absl::InvalidArgumentError(
          "kv_budget is given, but kv_eviction is none; expected window, attention or router");
    }
    return KvBudget();
  }
  RETURN_IF_ERROR(CheckModel(budget.policy, config));
  const std::string& text = request.kv_budget ? *request.kv_budget : options.budget;
  RETURN_IF_ERROR(ParseKvBudget(text, ShapeOf(config), budget));
  if (!budget.limited()) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_eviction is ", std::string(EvictionPolicyName(budget.policy)),
                     " without a kv_budget; expected one, such as 1:50%,exit:256"));
  }
  budget.sinks = request.kv_sinks.value_or(options.sinks);
  budget.recent = request.kv_recent.value_or(options.recent);
  budget.every = options.every;
  return budget;
}

}  // namespace recurve
