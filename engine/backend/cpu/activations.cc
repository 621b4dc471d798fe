// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/activations.h"

#include "engine/base/status_macros.h"

namespace recurve {

absl::Status Activations::Allocate(uint32_t rows, size_t columns, Precision precision) {
  const uint32_t slice = SliceInputs(precision);
  stride_ = (columns + slice - 1) / slice * slice;
  element_ = ElementSize(precision);
  ASSIGN_OR_RETURN(memory_, HugeBuffer::Allocate(rows * stride_ * element_));
  if (precision == Precision::kInt8) scales_.resize(rows);
  return absl::OkStatus();
}

}  // namespace recurve
