// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/activations.h"

#include "engine/base/status_macros.h"

namespace recurve {

absl::Status Activations::Allocate(uint32_t rows, size_t columns, Precision precision) {
  constexpr size_t kLine = 64;
  const uint32_t slice = SliceInputs(precision);
  element_ = ElementSize(precision);
  // An odd number of lines, or the same columns of all rows could fall into the same sets of the
  // caches, which a product that writes some columns of many rows would feel.
  const size_t bytes = (columns + slice - 1) / slice * slice * element_;
  const size_t lines = ((bytes + kLine - 1) / kLine) | 1;
  stride_ = lines * kLine / element_;
  ASSIGN_OR_RETURN(memory_, HugeBuffer::Allocate(rows * stride_ * element_));
  if (precision == Precision::kInt8) scales_.resize(rows);
  return absl::OkStatus();
}

}  // namespace recurve
