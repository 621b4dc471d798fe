// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_MODEL_ROPE_H_
#define RECURVE_ENGINE_MODEL_ROPE_H_

#include <vector>

#include "engine/model/config.h"

namespace recurve {

// Angle by which a position turns each pair of a head's numbers, in radians: [head_dim / 2].
// Computed in double with our own functions: the same bits on every machine.
std::vector<double> RotaryFrequencies(const ModelConfig& config);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_ROPE_H_
