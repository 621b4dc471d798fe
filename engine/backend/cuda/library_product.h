// SPDX-License-Identifier: Apache-2.0
// What stands around a product that the device's library makes (Runtime::Multiply): its operand in
// plain order before it. What becomes of the sums behind it are the ends of linear_bf16.cu.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_LIBRARY_PRODUCT_H_
#define RECURVE_ENGINE_BACKEND_CUDA_LIBRARY_PRODUCT_H_

#include "absl/status/status.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"

namespace recurve::cuda {

struct PlainRowsArgs {
  RowSet set;
  simt::In<ListCounts> counts;
  uint32_t steps = 0;             // of 16 inputs
  simt::In<simt::Words2> x;       // an operand (tensor_core.h)
  simt::Out<simt::Words2> plain;  // [rows][steps * 4]: each row's inputs in their order
};
// `rows`: the most that there can be.
absl::Status LaunchPlainRows(Runtime& runtime, uint32_t rows, const PlainRowsArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_LIBRARY_PRODUCT_H_
