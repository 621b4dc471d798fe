// SPDX-License-Identifier: Apache-2.0
// Weights in the order in which the matrix kernels read them.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_PACKED_MATRIX_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_PACKED_MATRIX_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"

namespace recurve {

// Outputs of a panel, which kernels compute together. Matrices are padded with zeros to whole
// panels of outputs and whole slices of inputs.
inline constexpr uint32_t kPanelOutputs = 32;
// A packed matrix interleaves gate and up in runs of this many rows.
inline constexpr uint32_t kInterleave = 16;

constexpr uint32_t RoundUp(uint32_t value, uint32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Inputs of a slice in int8: 64 bytes of 16 outputs by 4 inputs, 16 times. In other precisions
// kSliceInputs.
inline constexpr uint32_t kInt8SliceInputs = 64;

constexpr uint32_t SliceInputs(Precision precision) {
  return precision == Precision::kInt8 ? kInt8SliceInputs : kSliceInputs;
}

// W of y = W x: [outputs][inputs], the rows of one or several tensors. In memory, for each panel of
// 32 outputs and each slice of 32 (int8: 64) inputs, two halves of 16 outputs:
//   bf16  [outputs/32][inputs/32][2][16 pairs of inputs][16 outputs][2]: 64 bytes hold two inputs
//         of 16 outputs, side by side: a row of an AMX tile, and by shift and mask two vectors of
//         floats.
//   f32   [outputs/32][inputs/32][2][32 inputs][16 outputs]
//   int8  [outputs/32] of [inputs/64][2][16 quads of inputs][16 outputs][4], the outputs' scales
//         [32] and the sums of their weights [32]: 64 bytes hold four inputs of 16 outputs.
// Owns its memory. Immutable once filled; then thread-safe.
class PackedMatrix {
 public:
  // How the rows of several tensors become outputs.
  enum class Order {
    kConcatenated,  // those of the first, then those of the second, ...
    kInterleaved,   // of two tensors of one shape: 16 rows of the first, 16 of the second, the next
                    // 16 of the first, ...; the last run of each is filled up with zero rows
  };

  // Memory for the rows of `parts` (not empty, all with the same number of columns; int8: at most
  // kMaxInt8Inputs) in `precision`, rounded to nearest even, int8 by QuantizeRow. Fill must be
  // called for every panel before use. RESOURCE_EXHAUSTED when there is no memory. Of a model's
  // matrices many are smaller than a huge page, so that they share an arena.
  static absl::StatusOr<PackedMatrix> Create(absl::Span<const Tensor> parts, Order order,
                                             Precision precision, HugeArena& arena);
  // Create and Fill in one, in memory of its own.
  static absl::StatusOr<PackedMatrix> Pack(absl::Span<const Tensor> parts, Order order,
                                           Precision precision);

  PackedMatrix() = default;
  PackedMatrix(PackedMatrix&&) noexcept = default;
  PackedMatrix& operator=(PackedMatrix&&) noexcept = default;

  // Packs the panels [begin, end) of the same `parts` that Create was given. Calls for disjoint
  // panels may run at the same time. Uses some padded_inputs() floats of heap memory.
  void Fill(absl::Span<const Tensor> parts, uint32_t begin, uint32_t end);

  Precision precision() const { return precision_; }
  Order order() const { return order_; }
  uint32_t outputs() const { return outputs_; }  // with the zero rows of kInterleaved
  uint32_t inputs() const { return inputs_; }
  uint32_t padded_inputs() const { return RoundUp(inputs_, SliceInputs(precision_)); }
  uint32_t panels() const { return (outputs_ + kPanelOutputs - 1) / kPanelOutputs; }
  size_t bytes() const { return memory_.size(); }
  size_t panel_bytes() const { return panel_bytes_; }

  // The weights of 32 outputs by all inputs: [padded_inputs() / slice][2][slice * 16] elements.
  const std::byte* panel(uint32_t index) const { return memory_.data() + index * panel_bytes_; }

  // int8: of 32 outputs the scales and the sums of the whole numbers that stand for their weights.
  const float* scales(uint32_t panel_index) const {
    return reinterpret_cast<const float*>(panel(panel_index) + scales_offset());
  }
  const int32_t* sums(uint32_t panel_index) const {
    return reinterpret_cast<const int32_t*>(scales(panel_index) + kPanelOutputs);
  }

  // The weights of one output as floats, as they stand here after rounding.
  void Row(uint32_t output, float* out /* [inputs] */) const;

 private:
  // Create without memory.
  PackedMatrix(absl::Span<const Tensor> parts, Order order, Precision precision);

  struct Source {
    const Tensor* tensor;  // null: a zero row
    uint32_t row;
  };
  Source FindRow(absl::Span<const Tensor> parts, uint32_t output) const;
  // Byte offset of the element (output, input).
  size_t Offset(uint32_t output, uint32_t input) const;
  // Byte offset in a panel of what follows the weights.
  size_t scales_offset() const {
    return size_t{kPanelOutputs} * padded_inputs() * ElementSize(precision_);
  }
  void FillInt8(uint32_t output, const float* row /* [inputs] */, int8_t* numbers /* [inputs] */);
  void RowInt8(uint32_t output, float* out /* [inputs] */) const;

  HugeBuffer memory_;
  size_t panel_bytes_ = 0;
  uint32_t outputs_ = 0;
  uint32_t inputs_ = 0;
  Precision precision_ = Precision::kF32;
  Order order_ = Order::kConcatenated;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_PACKED_MATRIX_H_
