// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_MODEL_MOR_CONFIG_H_
#define RECURVE_ENGINE_MODEL_MOR_CONFIG_H_

#include <nlohmann/json_fwd.hpp>

#include "absl/status/status.h"
#include "engine/model/config.h"

namespace recurve {

// Reads the object `mor` of config.json into `config`, whose Llama fields have been read. Every
// field of it has a meaning: one that is unknown, or that the rest of the object gives no meaning,
// is an error.
absl::Status ReadMorConfig(const nlohmann::json& mor, ModelConfig* config);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_MOR_CONFIG_H_
