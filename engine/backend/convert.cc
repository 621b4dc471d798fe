// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/convert.h"

#include <bit>
#include <cstring>

#include "engine/backend/arithmetic.h"

namespace recurve {
namespace {

// IEEE half precision to float, exact. Integer operations alone: f16 denormals are normal floats
// and must survive whatever the floating-point mode.
float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1F;
  uint32_t mantissa = half & 0x3FF;
  if (exponent == 0x1F) return FloatFromBits(sign | 0x7F800000 | mantissa << 13);
  if (exponent != 0) return FloatFromBits(sign | (exponent + 112) << 23 | mantissa << 13);
  if (mantissa == 0) return FloatFromBits(sign);
  const auto shift = static_cast<uint32_t>(std::countl_zero(mantissa)) - 21;  // to the implicit bit
  mantissa = mantissa << shift & 0x3FF;
  return FloatFromBits(sign | (113 - shift) << 23 | mantissa << 13);
}

}  // namespace

void ConvertRow(const Tensor& tensor, uint32_t row, float* out) {
  const size_t columns = tensor.columns;
  if (tensor.type == DataType::kF32) {
    std::memcpy(out, tensor.data + row * columns * 4, columns * 4);
    return;
  }
  // Tensors of a checkpoint need not be aligned.
  const std::byte* source = tensor.data + row * columns * 2;
  for (size_t i = 0; i < columns; ++i, source += 2) {
    uint16_t bits;
    std::memcpy(&bits, source, 2);
    out[i] = tensor.type == DataType::kBf16 ? Bf16ToFloat(bits) : HalfToFloat(bits);
  }
}

}  // namespace recurve
