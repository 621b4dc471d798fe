// SPDX-License-Identifier: Apache-2.0
// The order in which the tensor cores take the operands of a product out[m] = sum over k of
// w[m][k] x[k], for many rows x: mma.m16n8k16 with the weights as its 16-row operand and the rows
// as its 8 columns, in steps of 16 k.
//
// Within a step, lane l of a warp holds of both operands the k = 4 (l % 4) .. + 3, and not the
// instruction's own 2 (l % 4), + 1, + 8, + 9: the sum of a step has no order (mma_hopper.h), so
// that both operands may be permuted alike, and each fragment is one load without gaps in a warp.
//
//   weights   [m16 tile][step][lane][8 bf16]: of lane l the rows l / 4 and l / 4 + 8
//   rows      [n8 tile][step][8 rows][16 bf16]
#ifndef RECURVE_ENGINE_BACKEND_CUDA_TENSOR_CORE_H_
#define RECURVE_ENGINE_BACKEND_CUDA_TENSOR_CORE_H_

#include <cstddef>
#include <cstdint>

#include "engine/base/host_device.h"

namespace recurve::cuda {

inline constexpr uint32_t kTileOutputs = 16;
inline constexpr uint32_t kTileRows = 8;
inline constexpr uint32_t kStepInputs = 16;

RECURVE_HOST_DEVICE constexpr uint32_t StepsOf(uint32_t inputs) {
  return (inputs + kStepInputs - 1) / kStepInputs;
}

// Elements of the operand that holds `rows` rows of `inputs` values. Values beyond are zero.
RECURVE_HOST_DEVICE constexpr size_t OperandElements(size_t rows, uint32_t inputs) {
  return (rows + kTileRows - 1) / kTileRows * StepsOf(inputs) * kTileRows * kStepInputs;
}

// Where value `k` of row `row` lies in an operand of `steps` steps.
RECURVE_HOST_DEVICE constexpr size_t OperandIndex(uint32_t row, uint32_t k, uint32_t steps) {
  const size_t tile = size_t{row / kTileRows} * steps + k / kStepInputs;
  return (tile * kTileRows + row % kTileRows) * kStepInputs + k % kStepInputs;
}

// How a matrix's outputs are dealt to its tiles. Of a tile a thread holds outputs 8 apart.
// half = 0: as they come. Otherwise the outputs are heads of 2 * half, and 8 apart lie element i of
// a head and element i + half: RoPE's partners, or a gate and its up projection. The last tile of a
// head may hold less than 8 pairs.
struct OutputOrder {
  uint32_t half = 0;
};

RECURVE_HOST_DEVICE constexpr uint32_t TilesOfHead(OutputOrder order) {
  return (order.half + 7) / 8;
}

RECURVE_HOST_DEVICE constexpr uint32_t TilesOf(uint32_t outputs, OutputOrder order) {
  if (order.half == 0) return (outputs + kTileOutputs - 1) / kTileOutputs;
  return outputs / (2 * order.half) * TilesOfHead(order);
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_TENSOR_CORE_H_
