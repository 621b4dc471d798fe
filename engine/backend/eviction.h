// SPDX-License-Identifier: Apache-2.0
// Which of a group's entries an eviction keeps, and where they go. One rule for all backends: which
// entries stay, and in which order they then lie, decides the bits of every later row. Rules and
// scores are compiled for host and device.
#ifndef RECURVE_ENGINE_BACKEND_EVICTION_H_
#define RECURVE_ENGINE_BACKEND_EVICTION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/step.h"
#include "engine/base/host_device.h"
#include "engine/sampling/arithmetic.h"

namespace recurve {

struct EvictionRule {
  EvictionPolicy policy = EvictionPolicy::kWindow;
  uint32_t sinks = 0;
  uint32_t recent = 0;
};

// Whether the entries of a group have router scores: those of a recursion have that a router let
// them into.
RECURVE_HOST_DEVICE constexpr bool HasRouterScores(uint32_t group, const StepShape& shape) {
  return shape.shared_kv == 0 && group > 1 && group < shape.exit_group();
}

// The rule for one group of a slot: kRouter is kWindow where there are no router scores.
RECURVE_HOST_DEVICE constexpr EvictionRule RuleFor(const EvictionRule& of_slot, uint32_t group,
                                                   const StepShape& shape) {
  EvictionRule rule = of_slot;
  if (rule.policy == EvictionPolicy::kRouter && !HasRouterScores(group, shape)) {
    rule.policy = EvictionPolicy::kWindow;
  }
  return rule;
}

// A router score as Choose takes it: in the order of the scores as numbers.
RECURVE_HOST_DEVICE inline uint64_t ScoreKey(float score) {
  return static_cast<uint32_t>(OrderKey(score)) ^ 0x80000000U;
}

// Entry `from` takes the place of entry `to`.
struct EntryMove {
  uint32_t from, to;
};

// Chooses again and again with the same memory. Thread-compatible.
class Eviction {
 public:
  // For at most `entries` entries a group without allocating.
  explicit Eviction(uint32_t entries);

  // The moves after which the first `keep` of positions.size() entries are those that stay, in the
  // order in which they must be made; valid until the next call. positions [count]: each entry's
  // own, all different, in any order. scores [count]: with kAttention the mass, with kRouter the
  // ScoreKey; higher is worth more. 1 <= keep <= count.
  //
  // By position, the first `sinks` entries stay (with keep below that, the first `keep`), then the
  // last `recent` ones; with kWindow all that are kept beyond the sinks are the last ones. Else the
  // rest are those of the highest scores, and of equal scores the later ones (heavy hitters: Zhang
  // et al., "H2O: Heavy-hitter oracle for efficient generative inference of large language models",
  // arXiv 2306.14048). Survivors from index `keep` on fill the holes below it, both in ascending
  // order: so few entries move, and none of them twice.
  std::span<const EntryMove> Choose(const EvictionRule& rule, uint32_t keep,
                                    std::span<const uint32_t> positions,
                                    std::span<const uint64_t> scores);

 private:
  std::vector<uint32_t> order_;  // indices of entries, by position
  std::vector<uint8_t> stays_;   // [count]
  std::vector<EntryMove> moves_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_EVICTION_H_
