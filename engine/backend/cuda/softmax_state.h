// SPDX-License-Identifier: Apache-2.0
// A softmax over some of a row's entries that can be merged with that over others: the largest
// score, the sum of exp(score - largest), and with it in the same units a weighted sum of values.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_SOFTMAX_STATE_H_
#define RECURVE_ENGINE_BACKEND_CUDA_SOFTMAX_STATE_H_

#include "engine/base/host_device.h"
#include "engine/base/math.h"

namespace recurve::cuda {

struct SoftmaxState {
  float largest = -math_internal::kInfinity;  // of no entry
  float sum = 0.0F;
};

// exp(score - largest); 0 for the score of an entry that is not seen.
RECURVE_HOST_DEVICE inline float SoftmaxWeight(float score, float largest) {
  const float weight = Exp(score - largest);
  return score == -math_internal::kInfinity ? 0.0F : weight;
}

// By what weighted sums of both are multiplied when they are added.
struct SoftmaxFactors {
  float before, more;
};

// Takes `more` into `state`. One without entries changes no bit.
RECURVE_HOST_DEVICE inline SoftmaxFactors Merge(const SoftmaxState& more, SoftmaxState* state) {
  const float largest = more.largest > state->largest ? more.largest : state->largest;
  const SoftmaxFactors factors = {SoftmaxWeight(state->largest, largest),
                                  SoftmaxWeight(more.largest, largest)};
  state->sum = Fma(state->sum, factors.before, more.sum * factors.more);
  state->largest = largest;
  return factors;
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_SOFTMAX_STATE_H_
