// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_MIX_BITS_H_
#define RECURVE_ENGINE_BASE_MIX_BITS_H_

#include <cstdint>

#include "engine/base/host_device.h"

namespace recurve {

// 2^64 over the golden ratio, odd: SplitMix64 mixes the bits of an arithmetic progression with this
// difference.
inline constexpr uint64_t kGoldenGamma = 0x9E3779B97F4A7C15;

// The output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014, with Stafford's constants "Mix13"): one to one, and each bit of `word`
// changes each bit of the result half of the time.
RECURVE_HOST_DEVICE constexpr uint64_t MixBits(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EB;
  return word ^ (word >> 31);
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_MIX_BITS_H_
