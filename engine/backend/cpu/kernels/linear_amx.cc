// SPDX-License-Identifier: Apache-2.0
// Products by the processor's tiles; those in f32, which it has none for, as AVX-512 has them.
#if defined(__AVX2__)

#include "engine/backend/cpu/kernels/linear_amx.h"

#include "engine/backend/cpu/kernels/kernels_avx512.h"

namespace recurve::amx {
namespace {

// Which every processor with tiles has.
struct Avx512Ends {
  RECURVE_AVX512 static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel,
                                    const float* sums) {
    avx512::Finish<Bf16>(args, row, panel, _mm512_load_ps(sums), _mm512_load_ps(sums + kHalfPanel));
  }
  RECURVE_AVX512 static void Finish(const LinearArgs& args, uint32_t row, uint32_t panel,
                                    const int32_t* sums) {
    avx512::FinishInt8(args, row, panel, sums);
  }
};

}  // namespace

void Linear(const LinearArgs& args) {
  if (args.weights->precision() == Precision::kBf16) {
    LinearInTiles<HardwareTiles, Avx512Ends, Bf16>(args);
  } else {
    avx512::Linear(args);
  }
}

void LinearInt8(const LinearArgs& args) { LinearInTiles<HardwareTiles, Avx512Ends, int8_t>(args); }

}  // namespace recurve::amx

#endif  // __AVX2__
