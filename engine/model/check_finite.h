// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_MODEL_CHECK_FINITE_H_
#define RECURVE_ENGINE_MODEL_CHECK_FINITE_H_

#include <string>

#include "absl/status/status.h"
#include "engine/model/weights.h"

namespace recurve {

// InvalidArgument if `tensor` of this name holds infinities, NaN, or numbers that become infinite
// when they are rounded to bf16: says how many, where the first is and what. Reads every byte.
absl::Status CheckFinite(const std::string& name, const Tensor& tensor);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_CHECK_FINITE_H_
