// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CONVERT_H_
#define RECURVE_ENGINE_BACKEND_CONVERT_H_

#include <cstdint>

#include "engine/model/weights.h"

namespace recurve {

// Writes row `row` of `tensor` as floats. f16 and bf16 convert exactly.
void ConvertRow(const Tensor& tensor, uint32_t row, float* out /* [tensor.columns] */);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CONVERT_H_
