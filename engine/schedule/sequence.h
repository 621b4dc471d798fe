// SPDX-License-Identifier: Apache-2.0
// One sample from its acceptance to its end, and its stay in a slot.
#ifndef RECURVE_ENGINE_SCHEDULE_SEQUENCE_H_
#define RECURVE_ENGINE_SCHEDULE_SEQUENCE_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/step.h"
#include "engine/schedule/depth_caps.h"
#include "engine/schedule/options.h"
#include "engine/schedule/prefix_state.h"
#include "engine/schedule/sample.h"

namespace recurve {

inline constexpr uint32_t kNoSlot = std::numeric_limits<uint32_t>::max();

// What a sequence is, in a slot or not.
struct Sequence {
  // `sample` is valid.
  Sequence(ScheduledSample sample, const ScheduleOptions& options, const StepShape& shape,
           SteadyTime queued);

  // The reason to end with after sampling stop id `token`.
  EndReason StopReason(uint32_t token) const;
  // Whether prompt log probabilities are wanted and some have not been told yet.
  bool WantsPromptLogprobs() const;
  // When time alone ends the sample, if it does.
  std::optional<SteadyTime> DueTime() const;
  // Whether it may be put back into the queue: not after it was so too often.
  bool IsPreemptible() const;
  // Whether it goes before `other` when both run: by priority, then by turn.
  bool Precedes(const Sequence& other) const;
  // Puts tokens from `position` on, none of which has begun, under the dial's `cap`, if the sample
  // allows that; but not those that are computed again.
  void FollowCap(uint32_t position, uint32_t cap);
  // Of its first tokens those that the cache gets: none from the first lowered cap on.
  uint32_t StoredPrefix() const;
  // Of its rows from `position` to `last` - 1 the first that the observer does not know; `last` if
  // there is none.
  uint32_t FirstUntold(uint32_t position, uint32_t last) const;
  // Tells the observer of those rows that it does not know: from `position` on, with the recursions
  // of each. logprobs: all of this step, in position order.
  void TellRows(uint32_t position, std::span<const uint32_t> depths,
                std::span<const TokenLogprob> logprobs);
  // Appends a token and tells the observer; output.logprobs: as above. True: the text ends here.
  bool TellToken(TokenOutput output);
  // A recomputed sequence is where it was before, or has left its slot again.
  void StopRecomputing(SteadyTime now);

  ScheduledSample sample;          // its prompt has moved to `tokens`
  DepthCaps caps;                  // the sample's own, and what the dial made of them
  std::vector<uint32_t> tokens;    // the prompt, then the generated ones
  uint32_t prompt;                 // tokens of the prompt
  uint32_t max_preemptions;        // ScheduleOptions'
  uint32_t end;                    // SlotLimits::end
  EndReason end_reason;            // for reaching `end`
  std::vector<uint32_t> stop_ids;  // the model's end-of-sequence ids, then the sample's own
  uint32_t eos_count = 0;          // how many of the former
  uint32_t slot = kNoSlot;
  uint32_t told_rows = 0;  // the observer knows of the rows below this position
  uint64_t turn = 0;       // how many were admitted before it, when it first was
  PrefixState prefix_state;
  std::optional<SteadyTime> recomputing_since;
  SampleStats stats;  // as far as it has come
};

// A sequence's stay in a slot: the host's mirror of what the backend does there. It goes on when
// the sequence leaves early, until the backend has heard of that.
struct Stay {
  Sequence* sequence = nullptr;  // null: it has left
  uint32_t epoch = 0;            // of the plan that admitted it
  uint32_t area = kNoArea;
  SlotState state;                  // after the last committed step
  uint32_t last_ran = 0;            // epoch of the last step that ran any of it
  SlotLimits limits;                // of the last plan
  uint32_t boundary = kNoBoundary;  // `room` stays at or below it until entries have been dropped
  // What plans have told of it: the given tokens below this position, and the depth caps below that
  // one; unset: none, since it has had no room.
  uint32_t told_tokens = 0;
  std::optional<uint32_t> told_caps;
};

// The room that `stay` should have when `outstanding` steps run before the one being planned: the
// next prompt chunk, of at most `prompt_rows`, or one token for each of these steps. Never less
// than it has, never past its end.
uint32_t WantedRoom(const Stay& stay, uint32_t outstanding, const StepShape& shape,
                    uint32_t prompt_rows);

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_SEQUENCE_H_
