// SPDX-License-Identifier: Apache-2.0
#include "engine/api/request.h"

#include "engine/base/mix_bits.h"

namespace recurve {

// SplitMix64 started at `seed`: no two samples after the first share a seed.
uint64_t SampleSeed(uint64_t seed, uint32_t sample) {
  return sample == 0 ? seed : MixBits(seed + sample * kGoldenGamma);
}

}  // namespace recurve
