// SPDX-License-Identifier: Apache-2.0
// When EXIT and ENTRY run. Their weights, the LM head's above all, are as large as the block's:
// running them for a handful of rows wastes bandwidth, letting rows wait costs latency.
#ifndef RECURVE_ENGINE_SCHEDULE_POLICY_H_
#define RECURVE_ENGINE_SCHEDULE_POLICY_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace recurve {

// A policy says one number of each plan, `ends_min`: EXIT and ENTRY run when that many rows wait
// for them, or when none waits for the block.
//   staged     what costs least for the sequences in flight (staging.h).
//   depthwise  1: every stage in every step, so rows of all recursion depths share a step.
//   lockstep   infinite: the rows in the block first leave it together, as in an engine without
//              depth-wise batching.
class Policy {
 public:
  // InvalidArgument lists the names that exist.
  static absl::StatusOr<Policy> FromName(std::string_view name);

  // One without a name, for measurements.
  static Policy WithEndsMin(uint32_t ends_min) { return Policy(ends_min); }

  Policy() = default;  // depthwise

  // None: staged.
  std::optional<uint32_t> ends_min() const { return ends_min_; }

 private:
  explicit Policy(std::optional<uint32_t> ends_min) : ends_min_(ends_min) {}

  std::optional<uint32_t> ends_min_ = 1;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_POLICY_H_
