// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/policy.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/step.h"

namespace recurve {

absl::StatusOr<Policy> Policy::FromName(std::string_view name) {
  for (const Kind kind : {Kind::kDepthwise, Kind::kLockstep}) {
    const Policy policy(kind);
    if (policy.name() == name) return policy;
  }
  return absl::InvalidArgumentError(absl::StrCat("policy is \"",
                                                 absl::string_view(name.data(), name.size()),
                                                 "\"; expected depthwise or lockstep"));
}

std::string_view Policy::name() const {
  return kind_ == Kind::kLockstep ? "lockstep" : "depthwise";
}

uint32_t Policy::ends_min() const { return kind_ == Kind::kLockstep ? kEndsWhenBlockEmpty : 1; }

}  // namespace recurve
