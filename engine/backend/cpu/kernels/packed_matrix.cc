// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/packed_matrix.h"

#include <cstring>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/backend/convert.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr uint32_t kHalf = kPanelOutputs / 2;

}  // namespace

PackedMatrix::PackedMatrix(absl::Span<const Tensor> parts, Order order, Precision precision)
    : precision_(precision), order_(order) {
  RECURVE_CHECK(!parts.empty());
  inputs_ = parts[0].columns;
  for (const Tensor& part : parts) {
    RECURVE_CHECK(part.data != nullptr && part.columns == inputs_);
    outputs_ += part.rows;
  }
  if (order == Order::kInterleaved) {
    RECURVE_CHECK(parts.size() == 2 && parts[0].rows == parts[1].rows);
    outputs_ = 2 * RoundUp(parts[0].rows, kInterleave);
  }
  RECURVE_CHECK(precision != Precision::kInt8 || inputs_ <= kMaxInt8Inputs);
  panel_bytes_ = scales_offset();
  if (precision == Precision::kInt8) {
    panel_bytes_ += kPanelOutputs * (sizeof(float) + sizeof(int32_t));
  }
}

absl::StatusOr<PackedMatrix> PackedMatrix::Create(absl::Span<const Tensor> parts, Order order,
                                                  Precision precision, HugeArena& arena) {
  PackedMatrix matrix(parts, order, precision);
  ASSIGN_OR_RETURN(matrix.memory_, arena.Allocate(matrix.panel_bytes_ * matrix.panels()));
  return matrix;
}

absl::StatusOr<PackedMatrix> PackedMatrix::Pack(absl::Span<const Tensor> parts, Order order,
                                                Precision precision) {
  PackedMatrix matrix(parts, order, precision);
  ASSIGN_OR_RETURN(matrix.memory_, HugeBuffer::Allocate(matrix.panel_bytes_ * matrix.panels()));
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
  const uint32_t slice = SliceInputs(precision_);
  const uint32_t k = input % slice;
  // Inputs of an output that lie side by side.
  const uint32_t run = precision_ == Precision::kInt8 ? 4 : precision_ == Precision::kBf16 ? 2 : 1;
  const size_t in_half = (size_t{k / run} * kHalf + column) * run + k % run;
  const size_t half_slice = size_t{input / slice} * 2 + half;
  return output / kPanelOutputs * panel_bytes_ +
         (half_slice * kHalf * slice + in_half) * ElementSize(precision_);
}

void PackedMatrix::Fill(absl::Span<const Tensor> parts, uint32_t begin, uint32_t end) {
  std::vector<float> row(inputs_);
  std::vector<int8_t> numbers(precision_ == Precision::kInt8 ? inputs_ : 0);
  for (uint32_t output = begin * kPanelOutputs; output < end * kPanelOutputs; ++output) {
    const Source source = FindRow(parts, output);
    if (source.tensor == nullptr) continue;  // the memory is zero
    ConvertRow(*source.tensor, source.row, row.data());
    if (precision_ == Precision::kInt8) {
      FillInt8(output, row.data(), numbers.data());
      continue;
    }
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

void PackedMatrix::FillInt8(uint32_t output, const float* row, int8_t* numbers) {
  const float scale = QuantizeRow(row, inputs_, numbers);
  int32_t sum = 0;
  for (uint32_t k = 0; k < inputs_; ++k) {
    std::memcpy(memory_.data() + Offset(output, k), &numbers[k], 1);
    sum += numbers[k];
  }
  std::byte* const scales =
      memory_.data() + output / kPanelOutputs * panel_bytes_ + scales_offset();
  const uint32_t column = output % kPanelOutputs;
  std::memcpy(scales + column * sizeof(float), &scale, sizeof(float));
  std::memcpy(scales + kPanelOutputs * sizeof(float) + column * sizeof(int32_t), &sum, sizeof(sum));
}

void PackedMatrix::RowInt8(uint32_t output, float* out) const {
  const float scale = scales(output / kPanelOutputs)[output % kPanelOutputs];
  for (uint32_t k = 0; k < inputs_; ++k) {
    int8_t number;
    std::memcpy(&number, memory_.data() + Offset(output, k), 1);
    out[k] = static_cast<float>(number) * scale;
  }
}

void PackedMatrix::Row(uint32_t output, float* out) const {
  if (precision_ == Precision::kInt8) {
    RowInt8(output, out);
    return;
  }
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
