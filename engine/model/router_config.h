// SPDX-License-Identifier: Apache-2.0
// Which router decides the tokens' depths. Compiled for host and device.
#ifndef RECURVE_ENGINE_MODEL_ROUTER_CONFIG_H_
#define RECURVE_ENGINE_MODEL_ROUTER_CONFIG_H_

namespace recurve {

enum class RouterType { kNone, kExpertChoice, kTokenChoice };
enum class RouterNetwork { kLinear, kMlp };  // "wide_mlp" computes what "mlp" does
enum class RouterFunction { kNone, kSigmoid, kTanh, kSoftmax };
enum class RouterSampling { kAuxLoss, kAuxRouter };

struct RouterConfig {
  RouterType type = RouterType::kNone;  // kNone: fixed depth, nothing below has a meaning
  RouterNetwork network = RouterNetwork::kLinear;
  RouterFunction function = RouterFunction::kSigmoid;
  float alpha = 1.0F;                                  // factor of the gate; 1 with function none
  float temperature = 1.0F;                            // the main router's input is divided by it
  bool weighted = true;                                // gating "weighted"
  RouterSampling sampling = RouterSampling::kAuxLoss;  // expert-choice
  float threshold = 0.5F;                              // expert-choice: in [0, 1], as a probability
  bool has_bias = false;  // token-choice, balancing "loss_free": the tensor router_bias exists
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_ROUTER_CONFIG_H_
