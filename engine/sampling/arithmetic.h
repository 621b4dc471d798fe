// SPDX-License-Identifier: Apache-2.0
// The arithmetic of sampling, a value at a time: small pure functions that the host's sampler and a
// device's kernel both compile, so that both turn equal logits into equal tokens. 32-bit floats
// with correctly rounded operations, and integers; nothing depends on the order of a sum.
#ifndef RECURVE_ENGINE_SAMPLING_ARITHMETIC_H_
#define RECURVE_ENGINE_SAMPLING_ARITHMETIC_H_

#include <cstdint>
#include <limits>

#include "engine/base/host_device.h"
#include "engine/base/math.h"
#include "engine/sampling/params.h"

namespace recurve {

inline constexpr float kLargestLogit = std::numeric_limits<float>::max();
inline constexpr float kLog2OfE = 1.44269502F;
inline constexpr uint32_t kWeightOne = uint32_t{1} << 31;  // weight of the largest logit

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
// random words from a counter and a key.
struct PhiloxWords {
  uint32_t word[4];
};
RECURVE_HOST_DEVICE constexpr PhiloxWords Philox(PhiloxWords counter, uint32_t key0,
                                                 uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53U} * counter.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57U} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

// The high 64 bits of a * b.
RECURVE_HOST_DEVICE constexpr uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  const uint64_t a_low = a & 0xFFFFFFFFU;
  const uint64_t a_high = a >> 32;
  const uint64_t b_low = b & 0xFFFFFFFFU;
  const uint64_t b_high = b >> 32;
  const uint64_t middle = a_high * b_low + ((a_low * b_low) >> 32);
  const uint64_t middle2 = a_low * b_high + (middle & 0xFFFFFFFFU);
  return a_high * b_high + (middle >> 32) + (middle2 >> 32);
}

// A number in [0, sum), uniform but for a part in 2^64 / sum: the draw for the token at `position`.
RECURVE_HOST_DEVICE constexpr uint64_t DrawTarget(uint32_t seed_low, uint32_t seed_high,
                                                  uint32_t position, uint64_t sum) {
  const PhiloxWords random = Philox({{position, 0, 0, 0}}, seed_low, seed_high);
  return MultiplyHigh(random.word[0] | uint64_t{random.word[1]} << 32, sum);
}

// Whether a logit is neither NaN nor an infinity.
RECURVE_HOST_DEVICE inline bool IsFinite(float value) {
  return (FloatBits(value) & 0x7F800000U) != 0x7F800000U;
}

// Whether penalties look at the tokens of the history at all. A sequence for which they do not need
// not count them.
RECURVE_HOST_DEVICE constexpr bool UsesTokenCounts(const SamplingParams& params) {
  return params.repetition_penalty != 1.0F || params.presence_penalty != 0.0F ||
         params.frequency_penalty != 0.0F;
}

// Keeps what penalties and biases made of a finite logit finite.
RECURVE_HOST_DEVICE constexpr float ClampLogit(float logit) {
  return logit > kLargestLogit ? kLargestLogit : (logit < -kLargestLogit ? -kLargestLogit : logit);
}

// The logit of a token that stands in prompt or output, `generated` times in the output.
RECURVE_HOST_DEVICE inline float Penalize(float logit, const SamplingParams& params,
                                          uint32_t generated) {
  logit = logit > 0.0F ? logit / params.repetition_penalty : logit * params.repetition_penalty;
  logit = ClampLogit(logit);
  if (generated > 0) {
    logit = ClampLogit(logit - params.presence_penalty);
    logit = Fma(-params.frequency_penalty, static_cast<float>(generated), logit);
  }
  return ClampLogit(logit);
}

// Factor from differences of logits to exponents of two. Finite for every temperature > 0.
RECURVE_HOST_DEVICE inline float ExponentScale(float temperature) {
  return ClampLogit(kLog2OfE / temperature);
}

// floor(2^31 * 2^(difference * scale)) for difference = logit - largest logit <= 0, -inf included.
RECURVE_HOST_DEVICE inline uint32_t Weight(float difference, float scale) {
  const float exponent = difference * scale;
  const float bounded = exponent > -32.0F ? exponent : -32.0F;  // 2^-32 already weighs nothing
  return static_cast<uint32_t>(math_internal::Exp2InRange(bounded) *
                               static_cast<float>(kWeightOne));
}

// Orders logits as signed integers: a < b iff OrderKey(a) < OrderKey(b); both zeros are equal. By
// bits, so that denormal logits are told apart in every floating-point mode.
RECURVE_HOST_DEVICE inline int32_t OrderKey(float logit) {
  const auto bits = static_cast<int32_t>(FloatBits(logit));
  // Of a negative number: minus its magnitude.
  return bits >= 0 ? bits : static_cast<int32_t>(0x80000000U - static_cast<uint32_t>(bits));
}

// Smallest total weight that the top-p set must reach: ceil(top_p * sum), for sums below 2^53. At
// least 1, whatever the floating-point mode makes of a denormal top_p.
RECURVE_HOST_DEVICE inline uint64_t TopPTarget(float top_p, uint64_t sum) {
  const double target = static_cast<double>(top_p) * static_cast<double>(sum);
  const auto whole = static_cast<uint64_t>(target);
  return static_cast<double>(whole) < target || whole == 0 ? whole + 1 : whole;
}

// Smallest weight that min-p keeps: floor(min_p * 2^31).
RECURVE_HOST_DEVICE inline uint32_t MinPWeight(float min_p) {
  return static_cast<uint32_t>(min_p * static_cast<float>(kWeightOne));
}

// ln of the probability of a token: `difference` as in Weight, `sum` of all weights at scale
// kLog2OfE.
RECURVE_HOST_DEVICE inline float LogProbability(float difference, uint64_t sum) {
  return difference - Ln(static_cast<float>(sum) * (1.0F / static_cast<float>(kWeightOne)));
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_SAMPLING_ARITHMETIC_H_
