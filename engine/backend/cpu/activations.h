// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CPU_ACTIVATIONS_H_
#define RECURVE_ENGINE_BACKEND_CPU_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/backend/precision.h"

namespace recurve {

// Rows of activations: [rows][stride] elements, in int8 with a scale a row. Padding beyond
// `columns` is zero and stays so.
class Activations {
 public:
  // RESOURCE_EXHAUSTED when there is no memory.
  absl::Status Allocate(uint32_t rows, size_t columns, Precision precision);

  size_t stride() const { return stride_; }
  std::byte* row(uint32_t row) { return memory_.data() + row * stride_ * element_; }
  int8_t* numbers(uint32_t row) { return reinterpret_cast<int8_t*>(this->row(row)); }
  float* scales(uint32_t row) { return scales_.data() + row; }  // int8: of this row and those after
  float* floats(uint32_t row) { return reinterpret_cast<float*>(this->row(row)); }
  const float* floats(uint32_t row) const {
    return reinterpret_cast<const float*>(memory_.data() + row * stride_ * element_);
  }

 private:
  HugeBuffer memory_;
  std::vector<float> scales_;
  size_t stride_ = 0;
  size_t element_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_ACTIVATIONS_H_
