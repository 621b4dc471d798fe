// SPDX-License-Identifier: Apache-2.0
// What a router's logits decide: gates of the residual's update, and how far a row goes. Compiled
// for host and device, so that all backends decide alike.
#ifndef RECURVE_ENGINE_BACKEND_GATE_H_
#define RECURVE_ENGINE_BACKEND_GATE_H_

#include <cstdint>

#include "engine/base/host_device.h"
#include "engine/base/math.h"
#include "engine/model/router_config.h"

namespace recurve {

// Expert-choice: the gate of a row with logit z: alpha * sigmoid(z), alpha * tanh(z), or z.
RECURVE_HOST_DEVICE inline float ExpertGate(const RouterConfig& router, float z) {
  switch (router.function) {
    case RouterFunction::kSigmoid:
      return router.alpha * Sigmoid(z);
    case RouterFunction::kTanh:
      return router.alpha * Tanh(z);
    default:
      return z;
  }
}

// Whether a row that ran `recursion` takes the next one, when it may run `most`.
RECURVE_HOST_DEVICE constexpr bool Passes(uint32_t recursion, uint32_t most) {
  return recursion < most;
}

// Expert-choice: the same, when the next recursion's deciding logit is `z`. A NaN never passes.
RECURVE_HOST_DEVICE constexpr bool ExpertPasses(float z, float threshold_logit, uint32_t recursion,
                                                uint32_t cap) {
  return z >= threshold_logit && Passes(recursion, cap);
}

// Token-choice: the gates of all depths, in place: alpha * softmax(z) or alpha * sigmoid(z). The
// sum is taken in the depths' order.
RECURVE_HOST_DEVICE inline void TokenGates(const RouterConfig& router, uint32_t n,
                                           float* z /* [n] */) {
  if (router.function == RouterFunction::kSigmoid) {
    for (uint32_t i = 0; i < n; ++i) z[i] = router.alpha * Sigmoid(z[i]);
    return;
  }
  float largest = z[0];
  for (uint32_t i = 1; i < n; ++i) {
    if (largest < z[i]) largest = z[i];
  }
  float sum = 0.0F;
  for (uint32_t i = 0; i < n; ++i) {
    z[i] = Exp(z[i] - largest);
    sum += z[i];
  }
  for (uint32_t i = 0; i < n; ++i) z[i] = router.alpha * (z[i] / sum);
}

// Token-choice: what is decided before recursion 1.
struct DepthChoice {
  uint32_t depth;  // recursions that the row runs
  float score;     // of the depth that the router chose
  float gate;      // of the depth that the row runs
};

// The depth of the best score, gate plus bias, the lower one of equals, but at most `cap`.
RECURVE_HOST_DEVICE inline DepthChoice ChooseDepth(const RouterConfig& router, uint32_t n,
                                                   const float* bias /* [n], or null */,
                                                   uint32_t cap,
                                                   float* z /* [n], becomes the gates */) {
  TokenGates(router, n, z);
  uint32_t best = 0;
  float best_score = 0.0F;
  for (uint32_t i = 0; i < n; ++i) {
    const float score = bias == nullptr ? z[i] : z[i] + bias[i];
    if (i == 0 || score > best_score) {
      best = i;
      best_score = score;
    }
  }
  const uint32_t depth = best + 1 < cap ? best + 1 : cap;
  return {depth, best_score, router.weighted ? z[depth - 1] : 1.0F};
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_GATE_H_
