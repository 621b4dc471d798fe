// SPDX-License-Identifier: Apache-2.0
// How one sequence turns a row of logits into a token. Written to a slot's table at admission;
// plain 32-bit words so that it can be copied to a device as it lies. Compiled for host and device.
#ifndef RECURVE_ENGINE_SAMPLING_PARAMS_H_
#define RECURVE_ENGINE_SAMPLING_PARAMS_H_

#include <cstdint>
#include <type_traits>

#include "engine/base/token_id.h"

namespace recurve {

// Defaults mean "off": a default SamplingParams picks the most likely token.
// Applied in this order: repetition, presence and frequency penalties, bias list, temperature,
// top-k, top-p, min-p. The bias list and the stop ids have variable length and lie beside this
// struct (see Admission in engine/backend/step.h).
struct SamplingParams {
  float temperature = 0.0F;         // >= 0; 0 picks the largest logit, ties to the lower id
  float top_p = 1.0F;               // (0, 1]; 1 is off
  float min_p = 0.0F;               // [0, 1); 0 is off
  float repetition_penalty = 1.0F;  // > 0; divides positive and multiplies negative logits of every
                                    // token seen in prompt or output
  float presence_penalty = 0.0F;    // subtracted once from tokens that were generated
  float frequency_penalty = 0.0F;   // subtracted once for each time that a token was generated
  uint32_t top_k = 0;               // 0 is off
  uint32_t seed_low = 0;   // 64-bit seed; with the absolute position of the sampled token it
  uint32_t seed_high = 0;  // is the whole key of the random number
  uint32_t generated = 0;  // position of the first token that counts as generated; earlier ones
                           // count for the repetition penalty alone
  uint32_t min_end = 0;    // no stop id is sampled at a position below this one

  uint64_t seed() const { return uint64_t{seed_high} << 32 | seed_low; }
  void set_seed(uint64_t seed) {
    seed_low = static_cast<uint32_t>(seed);
    seed_high = static_cast<uint32_t>(seed >> 32);
  }
};
static_assert(std::is_trivially_copyable_v<SamplingParams> && sizeof(SamplingParams) == 11 * 4);

// A logit bias: `value` is added to the logit of `token`.
struct TokenBias {
  TokenId token;
  float value;
};
static_assert(sizeof(TokenBias) == 2 * 4);

}  // namespace recurve

#endif  // RECURVE_ENGINE_SAMPLING_PARAMS_H_
