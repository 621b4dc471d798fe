// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_MODEL_ROPE_CONFIG_H_
#define RECURVE_ENGINE_MODEL_ROPE_CONFIG_H_

#include "absl/status/status.h"
#include "engine/model/config.h"
#include "engine/model/json_fields.h"

namespace recurve {

// Reads rope_theta, rope_scaling and rope_parameters, in which newer versions of transformers write
// both, into `config`. Where two of them say the same thing they must agree.
absl::Status ReadRope(JsonFields& fields, ModelConfig* config);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_ROPE_CONFIG_H_
