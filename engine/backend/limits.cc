// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/limits.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace recurve {

absl::Status CheckLimits(const BackendLimits& limits, const ModelConfig& config,
                         const BackendMaxima& maxima) {
  const std::pair<const char*, uint32_t> positive[] = {{"slots", limits.slots},
                                                       {"areas", limits.areas},
                                                       {"chunk", limits.chunk},
                                                       {"ends", limits.ends},
                                                       {"block_rows", limits.block_rows},
                                                       {"pages", limits.pages},
                                                       {"max_positions", limits.max_positions},
                                                       {"plan_changes", limits.plan_changes}};
  for (const auto& [name, value] : positive) {
    if (value == 0) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": found 0, expected at least 1"));
    }
  }
  if (limits.prompt_rows < limits.chunk) {
    return absl::InvalidArgumentError(absl::StrCat("prompt_rows: found ", limits.prompt_rows,
                                                   ", expected at least chunk = ", limits.chunk));
  }
  if (limits.max_positions > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("max_positions: found ", limits.max_positions,
                                                   ", expected at most the model's ",
                                                   config.max_positions));
  }
  if (limits.slots > maxima.slots) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots: found ", limits.slots, ", expected at most ", maxima.slots));
  }
  if (limits.pages > maxima.pages) {
    return absl::InvalidArgumentError(
        absl::StrCat("pages: found ", limits.pages, ", expected at most ", maxima.pages));
  }
  const uint64_t hidden_rows = limits.slots + uint64_t{limits.areas} * limits.chunk;
  if (hidden_rows > maxima.hidden_rows) {
    return absl::InvalidArgumentError(absl::StrCat("areas and chunk: found ", limits.areas, " and ",
                                                   limits.chunk, ", expected at most ",
                                                   maxima.hidden_rows, " rows of areas and slots"));
  }
  if (config.recursions() + 2 > kMaxGroups) {
    return absl::InvalidArgumentError(absl::StrCat("num_recursions: found ", config.recursions(),
                                                   ", expected at most ", kMaxGroups - 2));
  }
  return absl::OkStatus();
}

uint32_t MaxRows(const BackendLimits& limits) {
  return std::max(limits.ends, limits.block_rows) + limits.prompt_rows;
}

uint32_t HiddenRows(const BackendLimits& limits) {
  return limits.slots + limits.areas * limits.chunk;
}

}  // namespace recurve
