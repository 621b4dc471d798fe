// SPDX-License-Identifier: Apache-2.0
// A model without weights for the tests of the schedule: every value, verdict, token and log
// probability is a hash of all cache entries that the row may see. An entry that is lost, stale,
// doubled, out of order or of another sequence changes what is generated.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_FAKE_MODEL_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_FAKE_MODEL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/step.h"
#include "engine/sampling/params.h"
#include "engine/schedule/options.h"
#include "engine/schedule/sample.h"

namespace recurve {

uint64_t Mix(uint64_t a, uint64_t b);

// One entry of one group, as it lies in a page.
struct FakeEntry {
  uint64_t value = 0;
  uint32_t position = 0;
  uint64_t score = 0;  // of the router that let the row into the group
  uint64_t mass = 0;   // of the attention that it has got
};

// What a row carries from stage to stage: a hidden row.
struct FakeHidden {
  uint64_t value = 0;
  uint32_t depth = 0;  // recursions run
};

// What of a sample decides its tokens.
struct FakeSampling {
  SamplingParams params;
  float threshold_logit = 0.0F;
  std::span<const TokenBias> biases;
  std::span<const uint32_t> stop_ids;
};

struct FakeModel {
  enum class Routing { kFixedDepth, kExpertChoice, kTokenChoice };

  uint64_t seed = 0;
  StepShape shape;
  Routing routing = Routing::kExpertChoice;
  uint32_t vocab = 64;

  // ENTRY: the row before it has attended, and the entry that it appends.
  uint64_t Embed(uint32_t token, uint32_t position) const;
  // The entry that a row of value `hidden` appends to `group`.
  FakeEntry Append(uint64_t hidden, uint32_t group, uint32_t position) const;
  // The row after it has attended, in layer group `layer`, to `seen`: its own entry included.
  uint64_t Attend(uint64_t hidden, uint32_t layer, std::span<const FakeEntry> seen) const;
  // What the row's attention adds to the mass of an entry.
  uint64_t Mass(uint64_t hidden, const FakeEntry& entry) const;
  // Whether entries of the group have a router's score.
  bool HasScores(uint32_t group) const;
  // Whether a row that has run `hidden.depth` recursions runs another one. `entered`: its value
  // after ENTRY, on which token-choice depends.
  bool Continues(const FakeHidden& hidden, uint64_t entered, uint32_t cap,
                 float threshold_logit) const;
  // The token that follows history[0..n-1], whose last row left EXIT with `hidden`.
  uint32_t Sample(uint64_t hidden, std::span<const uint32_t> history,
                  const FakeSampling& sampling) const;
  // Log probabilities of position `position`, where `token` stands, and of `top` others.
  void Logprobs(uint64_t hidden, uint32_t slot, uint32_t position, uint32_t token, uint32_t top,
                std::vector<TokenLogprob>& logprobs) const;
};

// Whether the test's observers take `token` at `position` for the end of a stop string.
bool EndsStopString(uint64_t id, uint32_t token, uint32_t position);

// The cap of the token at `position` under `caps`, in ascending positions.
uint32_t CapAt(std::span<const DepthCap> caps, uint32_t position, uint32_t recursions);

// What a sample must produce.
struct Expected {
  std::vector<uint32_t> row_depths;           // of every row, by position
  std::vector<uint32_t> tokens;               // generated ones
  std::vector<TokenLogprob> prompt_logprobs;  // slot is 0
  std::vector<TokenLogprob> token_logprobs;   // slot is 0
  EndReason reason = EndReason::kLength;
};

// Whether `told` is the first `count` of `expected`, whatever the slots.
bool SameLogprobs(const std::vector<TokenLogprob>& told, const std::vector<TokenLogprob>& expected,
                  size_t count);

// Computes `sample` token by token, without pages, chunks, steps or slots. `stop_strings`: its
// observer knows some.
Expected ComputeAlone(const FakeModel& model, const ScheduledSample& sample,
                      const ScheduleOptions& options, bool stop_strings);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_FAKE_MODEL_H_
