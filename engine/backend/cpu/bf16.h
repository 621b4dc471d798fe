// SPDX-License-Identifier: Apache-2.0
// bfloat16 as its bits: the upper half of a float.
#ifndef RECURVE_ENGINE_BACKEND_CPU_BF16_H_
#define RECURVE_ENGINE_BACKEND_CPU_BF16_H_

#include <cstdint>

#include "engine/base/math.h"

namespace recurve {

using Bf16 = uint16_t;

inline float Bf16ToFloat(Bf16 bits) { return FloatFromBits(static_cast<uint32_t>(bits) << 16); }

// Round to nearest, ties to even; any NaN becomes the quiet NaN 0x7FC0 with its sign. Integer
// operations alone: denormals are rounded like other numbers in every floating-point mode.
inline Bf16 FloatToBf16(float x) {
  const uint32_t bits = FloatBits(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<Bf16>((bits >> 16 & 0x8000) | 0x7FC0);
  return static_cast<Bf16>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_BF16_H_
