// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_MODEL_PARAMETERS_H_
#define RECURVE_ENGINE_MODEL_PARAMETERS_H_

#include <cstdint>

#include "engine/model/weights.h"

namespace recurve {

// Numbers of which the model's weights consist; those that it uses in several places count once.
uint64_t CountParameters(const Model& model);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_PARAMETERS_H_
