// SPDX-License-Identifier: Apache-2.0
// Configurations of models of a few hundred weights, and loading what a test writes for them.
#ifndef RECURVE_TESTS_ENGINE_MODEL_LOAD_WRITTEN_H_
#define RECURVE_TESTS_ENGINE_MODEL_LOAD_WRITTEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/config.h"
#include "engine/model/weights.h"
#include "tests/engine/model/checkpoint_writer.h"

namespace recurve {

// What stands under "mor" in a config.json: expert-choice routing, and token-choice.
inline constexpr char kExpert[] = R"({"sharing": "middle_cycle", "num_recursions": 3, "router":
  {"type": "expert_choice", "network": "linear", "function": "sigmoid", "alpha": 0.1,
   "gating": "weighted", "sampling": "aux_loss"}})";
inline constexpr char kToken[] = R"({"sharing": "middle_cycle", "num_recursions": 3, "router":
  {"type": "token_choice", "network": "linear", "function": "softmax", "alpha": 1.0,
   "gating": "weighted", "balancing": "loss_free"}})";

// The text of a config.json with hidden size 8: `mor` is its object "mor" (none if empty),
// `changes` a merge patch of it.
std::string ConfigText(uint32_t layers, const std::string& mor, const std::string& changes = "{}");

// The configuration of a text that must be right.
ModelConfig Parse(const std::string& text);

// Loads a directory with this config.json and these tensors.
absl::StatusOr<Model> Load(const std::string& config, const WrittenTensors& tensors);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_MODEL_LOAD_WRITTEN_H_
