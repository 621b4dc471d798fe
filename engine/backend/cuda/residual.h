// SPDX-License-Identifier: Apache-2.0
// The residual stream of --precision=bf16. It stays in f32; whoever writes it leaves beside it what
// the next product needs, so that no kernel stands between two products for the norm alone:
//
//   operand   bf16(x * gamma of the next norm), in the order of the tensor cores
//   squares   of each tile of 16 columns the sum of x * x
//
// The next product multiplies its sums by 1 / rms, which it adds up from the squares.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_RESIDUAL_H_
#define RECURVE_ENGINE_BACKEND_CUDA_RESIDUAL_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/tensor_core.h"
#include "engine/base/host_device.h"

namespace recurve::cuda {

// Lanes that add up a row's squares; each reads its parts in units of kSquaresUnit.
inline constexpr uint32_t kSquaresLanes = 8;
inline constexpr uint32_t kSquaresUnit = 4;

// Parts that a row's sum of squares comes in: a tile each, and zeros up to whole units of all
// lanes.
RECURVE_HOST_DEVICE constexpr uint32_t SquaresOf(uint32_t hidden) {
  constexpr uint32_t kAtOnce = kSquaresLanes * kSquaresUnit;
  return (StepsOf(hidden) + kAtOnce - 1) / kAtOnce * kAtOnce;
}

struct ResidualArgs {
  uint32_t hidden = 0;
  simt::Constant<float> gamma;  // [hidden], of the next norm
  simt::Out<float> x;           // [rows][hidden]
  simt::Out<Bf16> operand;      // rows of hidden values
  simt::Out<float> squares;     // [rows][SquaresOf(hidden)]
};

#if defined(RECURVE_DEVICE)

// Columns 16 tile + g and 16 tile + g + 8 of a row's new residual, by the lane with
// lane / 4 = g; all lanes of the warp call it, and those of one lane % 4 with the same row.
// `there`: whether the row is one. `gamma`: of both columns.
RECURVE_DEVICE inline void StoreResidual(const ResidualArgs& args, uint32_t row, uint32_t tile,
                                         bool there, const float (&gamma)[2], float low,
                                         float high) {
  const uint32_t g = simt::ThreadIndex() % simt::kWarp / 4;
  float square = 0.0F;
  for (uint32_t half = 0; half < 2; ++half) {
    const uint32_t column = tile * kTileOutputs + half * 8 + g;
    if (!there || column >= args.hidden) continue;
    const float x = half == 0 ? low : high;
    args.x.Set(size_t{row} * args.hidden + column, x);
    args.operand.Set(OperandIndex(row, column, StepsOf(args.hidden)), FloatToBf16(x * gamma[half]));
    square = Fma(x, x, square);
  }
  for (uint32_t step = 4; step < simt::kWarp; step *= 2) square += simt::ShuffleXor(square, step);
  if (there && g == 0) args.squares.Set(size_t{row} * SquaresOf(args.hidden) + tile, square);
}

#endif  // RECURVE_DEVICE

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_RESIDUAL_H_
