// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/packed_matrix.h"

#include <bit>
#include <cstring>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr uint32_t kHalf = kPanelOutputs / 2;

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

absl::StatusOr<PackedMatrix> PackedMatrix::Create(absl::Span<const Tensor> parts, Order order,
                                                  Precision precision) {
  RECURVE_CHECK(!parts.empty());
  PackedMatrix matrix;
  matrix.precision_ = precision;
  matrix.order_ = order;
  matrix.inputs_ = parts[0].columns;
  for (const Tensor& part : parts) {
    RECURVE_CHECK(part.data != nullptr && part.columns == matrix.inputs_);
    matrix.outputs_ += part.rows;
  }
  if (order == Order::kInterleaved) {
    RECURVE_CHECK(parts.size() == 2 && parts[0].rows == parts[1].rows);
    matrix.outputs_ = 2 * RoundUp(parts[0].rows, kInterleave);
  }
  matrix.panel_bytes_ = size_t{kPanelOutputs} * matrix.padded_inputs() * ElementSize(precision);
  ASSIGN_OR_RETURN(matrix.memory_, HugeBuffer::Allocate(matrix.panel_bytes_ * matrix.panels()));
  return matrix;
}

absl::StatusOr<PackedMatrix> PackedMatrix::Pack(absl::Span<const Tensor> parts, Order order,
                                                Precision precision) {
  ASSIGN_OR_RETURN(PackedMatrix matrix, Create(parts, order, precision));
  matrix.Fill(parts, 0, matrix.panels());
  return matrix;
}

PackedMatrix::Source PackedMatrix::FindRow(absl::Span<const Tensor> parts, uint32_t output) const {
  if (order_ == Order::kInterleaved) {
    const uint32_t run = output / kInterleave;
    const Tensor& part = parts[run % 2];
    const uint32_t row = run / 2 * kInterleave + output % kInterleave;
    return {row < part.rows ? &part : nullptr, row};
  }
  for (const Tensor& part : parts) {
    if (output < part.rows) return {&part, output};
    output -= part.rows;
  }
  return {nullptr, 0};
}

size_t PackedMatrix::Offset(uint32_t output, uint32_t input) const {
  const uint32_t half = output % kPanelOutputs / kHalf;
  const uint32_t column = output % kHalf;
  const uint32_t k = input % kSliceInputs;
  const size_t in_half = precision_ == Precision::kBf16
                             ? (size_t{k / 2} * kHalf + column) * 2 + k % 2
                             : size_t{k} * kHalf + column;
  const size_t half_slice = size_t{input / kSliceInputs} * 2 + half;
  return output / kPanelOutputs * panel_bytes_ +
         (half_slice * kHalf * kSliceInputs + in_half) * ElementSize(precision_);
}

void PackedMatrix::Fill(absl::Span<const Tensor> parts, uint32_t begin, uint32_t end) {
  std::vector<float> row(inputs_);
  for (uint32_t output = begin * kPanelOutputs; output < end * kPanelOutputs; ++output) {
    const Source source = FindRow(parts, output);
    if (source.tensor == nullptr) continue;  // the memory is zero
    ConvertRow(*source.tensor, source.row, row.data());
    for (uint32_t k = 0; k < inputs_; ++k) {
      std::byte* const at = memory_.data() + Offset(output, k);
      if (precision_ == Precision::kBf16) {
        const Bf16 value = FloatToBf16(row[k]);
        std::memcpy(at, &value, sizeof(value));
      } else {
        std::memcpy(at, &row[k], sizeof(float));
      }
    }
  }
}

void PackedMatrix::Row(uint32_t output, float* out) const {
  for (uint32_t k = 0; k < inputs_; ++k) {
    const std::byte* const at = memory_.data() + Offset(output, k);
    if (precision_ == Precision::kBf16) {
      Bf16 value;
      std::memcpy(&value, at, sizeof(value));
      out[k] = Bf16ToFloat(value);
    } else {
      std::memcpy(&out[k], at, sizeof(float));
    }
  }
}

}  // namespace recurve
