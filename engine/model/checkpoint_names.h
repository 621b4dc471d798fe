// SPDX-License-Identifier: Apache-2.0
// What the names of a checkpoint's tensors say when they are not those that config.json asks for.
#ifndef RECURVE_ENGINE_MODEL_CHECKPOINT_NAMES_H_
#define RECURVE_ENGINE_MODEL_CHECKPOINT_NAMES_H_

#include "absl/status/status.h"
#include "engine/model/config.h"
#include "engine/model/safetensors.h"

namespace recurve {

// InvalidArgument, with what to do, for a checkpoint with a router whose `config` has none, and for
// one whose names carry a wrapper's prefix or lack their own. OK says nothing.
absl::Status CheckNames(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_CHECKPOINT_NAMES_H_
