// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/policy.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/step.h"

namespace recurve {

absl::StatusOr<Policy> Policy::FromName(std::string_view name) {
  if (name == "depthwise") return Policy();
  if (name == "staged") return Policy(std::nullopt);
  if (name == "lockstep") return Policy(kEndsWhenBlockEmpty);
  return absl::InvalidArgumentError(absl::StrCat("policy is \"",
                                                 absl::string_view(name.data(), name.size()),
                                                 "\"; expected staged, depthwise or lockstep"));
}

}  // namespace recurve
