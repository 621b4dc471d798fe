// SPDX-License-Identifier: Apache-2.0
// How deep each token of one sequence may go.
#ifndef RECURVE_ENGINE_SCHEDULE_DEPTH_CAPS_H_
#define RECURVE_ENGINE_SCHEDULE_DEPTH_CAPS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "engine/backend/step.h"

namespace recurve {

// A sample's own caps, and the limits under which the dial has put its tokens. They are kept by
// position, so that a token which is computed again has the cap that it had before.
// Thread-compatible.
class DepthCaps {
 public:
  static constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

  // `own`: in ascending positions; a token before the first one has `recursions`.
  DepthCaps(std::vector<DepthCap> own, uint32_t recursions)
      : own_(std::move(own)), recursions_(recursions) {}

  // Tokens from `position` on run at most `cap` recursions, and never more than their own cap;
  // limits that were set for them before are forgotten. False: nothing has changed by that.
  bool Limit(uint32_t position, uint32_t cap);

  // The sample's own cap of the token at `position`, and the one in force.
  uint32_t OwnAt(uint32_t position) const;
  uint32_t At(uint32_t position) const;

  // The first token with a lower cap than its own; kNowhere if there is none. What is computed from
  // there on is no other sample's prefix.
  uint32_t FirstLowered() const;

  // Appends the caps in force that begin at `begin` or later and before `end`, until `changes`
  // holds `most`. Returns where to go on: at `end`, or at the first one that was left out.
  uint32_t Append(uint32_t slot, uint32_t begin, uint32_t end, size_t most,
                  std::vector<CapChange>& changes) const;

  uint32_t recursions() const { return recursions_; }

 private:
  const std::vector<DepthCap> own_;
  const uint32_t recursions_;
  std::vector<DepthCap> limits_;  // in ascending positions
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_DEPTH_CAPS_H_
