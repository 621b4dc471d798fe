// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/activations.h"

#include "engine/base/status_macros.h"

namespace recurve {

absl::Status Activations::Allocate(uint32_t rows, size_t columns, Precision precision) {
  stride_ = (columns + kSliceInputs - 1) / kSliceInputs * kSliceInputs;
  element_ = ElementSize(precision);
  ASSIGN_OR_RETURN(memory_, HugeBuffer::Allocate(rows * stride_ * element_));
  return absl::OkStatus();
}

}  // namespace recurve
