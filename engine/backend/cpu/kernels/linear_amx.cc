// SPDX-License-Identifier: Apache-2.0
// Products by the processor's tiles; those in f32, which it has none for, as AVX-512 has them.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/linear_amx.h"

namespace recurve::amx {

void Linear(const LinearArgs& args) {
  if (args.weights->precision() == Precision::kBf16) {
    LinearInTiles<HardwareTiles>(args);
  } else {
    avx512::Linear(args);
  }
}

}  // namespace recurve::amx

#endif  // __AVX2__
