// SPDX-License-Identifier: Apache-2.0
// The angles of RoPE: from a table, or for positions beyond it computed as the table was.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ROTARY_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ROTARY_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/cuda/simt.h"
#include "engine/base/math.h"

namespace recurve::cuda {

struct Angle {
  float cos, sin;
};

struct RotaryTable {
  simt::Constant<float> cos, sin;      // [tabled_positions][head_dim / 2]
  simt::Constant<double> frequencies;  // [head_dim / 2]
  uint32_t tabled_positions = 0;

#if defined(RECURVE_DEVICE)
  // Of dimensions `pair` and `pair` + `half`.
  RECURVE_DEVICE Angle AngleOf(uint32_t position, uint32_t pair, uint32_t half) const {
    if (position < tabled_positions) {
      const size_t at = size_t{position} * half + pair;
      return {cos[at], sin[at]};
    }
    return OfAngle(position * frequencies[pair]);
  }

 private:
  // By itself, since few positions come to it and its code is long.
  RECURVE_NOINLINE RECURVE_DEVICE static Angle OfAngle(double angle) {
    return {Cos(angle), Sin(angle)};
  }
#endif
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROTARY_H_
