// SPDX-License-Identifier: Apache-2.0
// The policy `staged`: how many rows wait for EXIT and ENTRY until these run.
#ifndef RECURVE_ENGINE_SCHEDULE_STAGING_H_
#define RECURVE_ENGINE_SCHEDULE_STAGING_H_

#include <array>
#include <cstdint>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/step.h"
#include "engine/schedule/stage_costs.h"

namespace recurve {

// EXIT and ENTRY read their weights however few rows they have, and so does the block. Rows that
// wait for others save the ones and leave the block with fewer rows, so that it runs more often.
// What is best depends on what both cost, on the sequences in flight and on how deep tokens go:
// with all tokens of one depth rows that have met stay together, and waiting pays for good; where
// each goes its own way, waiting pays only while EXIT and ENTRY are dear. So each number of rows
// that might wait is tried on a small model of the schedule, whose tokens have the depths of late,
// and the one with the least time a token is taken, the least one of several. Among them are 1,
// which is `depthwise`, and all sequences, which is `lockstep`.
//
// Draws no random numbers: the same tokens make the same choices. Thread-compatible.
class Staging {
 public:
  // `limits` are filled in.
  Staging(const StageCosts& costs, const StepShape& shape, const BackendLimits& limits);

  // The row of a generated token ran `depth` recursions.
  void CountDepth(uint32_t depth);

  // StepPlan::ends_min with `sequences` that generate; at least 1, and no more rows than EXIT
  // takes.
  uint32_t EndsMin(uint32_t sequences);

  // The time of a token with `sequences` that generate, if as many rows wait as is best, in ns.
  double LeastTimeOfToken(uint32_t sequences) const { return Choose(sequences).time; }

  // The steps that a row may wait before EXIT and ENTRY run: as many as all sequences need for all
  // recursions.
  uint32_t longest_wait() const { return longest_wait_; }

 private:
  // A number of sequences, with no more rows than it takes to tell one policy from another.
  struct Scene {
    uint32_t rows;        // sequences, of which each stands for `scale`
    uint32_t block_rows;  // most in the block
    double scale;
  };

  struct Choice {
    uint32_t ends_min;
    double time;  // of a token, in ns
  };

  Choice Choose(uint32_t sequences) const;
  // Looked up again and again while choices are tried.
  class Tables;
  // The time of a token if EXIT and ENTRY run for `ends_min` rows of the scene.
  double TimeOfToken(const Scene& scene, uint32_t ends_min, Tables& tables) const;
  // Of the index-th token of a scene's sequence.
  uint32_t DepthOf(uint32_t sequence, uint32_t index) const;
  void TakeShares();

  const StageCosts costs_;
  const uint32_t recursions_;
  const uint32_t slots_;
  const uint32_t ends_;
  const uint32_t block_rows_;
  const uint32_t longest_wait_;
  std::array<double, kMaxGroups> counts_{};  // of late, by depth - 1
  double count_ = 0;                         // their sum
  double next_look_;                         // the sum at which shares are taken anew
  std::array<double, kMaxGroups> up_to_{};   // share of the tokens that are no deeper, by depth - 1
  std::vector<uint32_t> ends_min_;           // [slots + 1], by sequences; 0: not chosen yet
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_STAGING_H_
