// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/host_product.h"

#include <algorithm>
#include <bit>

#include "engine/backend/cuda/packed_matrix.h"
#include "tests/simt/mma_hopper.h"

namespace recurve::cuda {
namespace {

// Products of 16 inputs, zeros beyond `inputs`, added to `sum` as the tensor cores do it.
float AddStep(const Bf16* weights, const Bf16* x, uint32_t inputs, uint32_t step, float sum) {
  Bf16 a[kStepInputs] = {};
  Bf16 b[kStepInputs] = {};
  const uint32_t begin = step * kStepInputs;
  const uint32_t end = std::min(begin + kStepInputs, inputs);
  std::copy(weights + begin, weights + end, a);
  std::copy(x + begin, x + end, b);
  return std::bit_cast<float>(MmaSum(a, 1, b, 1, std::bit_cast<uint32_t>(sum)));
}

// k is cut into 8 segments of equal steps, or one of each step if there are fewer. Where the steps
// are not a multiple, segment s begins with step s * steps / segments.
float Dot(const Bf16* weights, const Bf16* x, uint32_t inputs) {
  const uint32_t steps = (inputs + 15) / 16;
  const uint32_t segments = std::min(8U, steps);
  float sum = 0.0F;
  for (uint32_t segment = 0; segment < segments; ++segment) {
    float of_segment = 0.0F;
    const uint32_t end = (segment + 1) * steps / segments;
    for (uint32_t step = segment * steps / segments; step < end; ++step) {
      of_segment = AddStep(weights, x, inputs, step, of_segment);
    }
    sum = segment == 0 ? of_segment : sum + of_segment;
  }
  return sum;
}

}  // namespace

float TreeOfEight(const float* v) {
  return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

std::vector<Bf16> OperandOf(const std::vector<Bf16>& values, uint32_t rows, uint32_t inputs,
                            Bf16 fill) {
  std::vector<Bf16> operand(OperandElements(rows, inputs), fill);
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t k = 0; k < inputs; ++k) {
      operand[OperandIndex(row, k, StepsOf(inputs))] = values[size_t{row} * inputs + k];
    }
  }
  return operand;
}

HostProduct::HostProduct(const ProductSizes& sizes, uint32_t seed) : sizes_(sizes) {
  Numbers numbers(seed);
  const size_t sets = std::max<size_t>(1, sizes.recursions.size());
  for (size_t set = 0; set < sets; ++set) {
    weights_.push_back(numbers.Bf16s(size_t{sizes.outputs} * sizes.inputs, 0.3F));
  }
  x_ = numbers.Bf16s(size_t{sizes.rows} * sizes.inputs, 1.0F);
  const uint32_t squares = SquaresOf(sizes.inputs);
  squares_.resize(size_t{sizes.rows} * squares);
  for (size_t i = 0; i < squares_.size(); ++i) {
    const float x = numbers.Float(3.0F);
    if (i % squares < StepsOf(sizes.inputs)) squares_[i] = x * x;
  }
}

const std::vector<Bf16>& HostProduct::WeightsOf(uint32_t row) const {
  if (sizes_.recursions.empty()) return weights_[0];
  size_t set = 0;
  for (uint32_t end = sizes_.recursions[0]; row >= end; end += sizes_.recursions[set]) ++set;
  return weights_[set];
}

// Eight lanes add up an eighth of the squares each.
float HostProduct::ScaleOf(uint32_t row) const {
  if (!sizes_.has_norm) return 1.0F;
  const uint32_t squares = SquaresOf(sizes_.inputs);
  float lanes[8] = {};
  for (uint32_t i = 0; i < squares; ++i) {
    lanes[i / (squares / 8)] += squares_[size_t{row} * squares + i];
  }
  return InverseRms(TreeOfEight(lanes), sizes_.inputs, kEpsilon);
}

float HostProduct::At(uint32_t row, uint32_t output) const {
  const uint32_t inputs = sizes_.inputs;
  return Dot(&WeightsOf(row)[size_t{output} * inputs], &x_[size_t{row} * inputs], inputs) *
         ScaleOf(row);
}

ProductBf16 HostProduct::Upload(Runtime& runtime) const {
  const auto sets = static_cast<uint32_t>(weights_.size());
  ListCounts counts;
  counts.block_rows = sizes_.rows;
  for (uint32_t set = 0, begin = 0; set < sizes_.recursions.size(); ++set) {
    counts.recursions[set] = {begin, begin + sizes_.recursions[set]};
    begin += sizes_.recursions[set];
  }
  const size_t fragments = PackedFragments(sizes_.inputs, sizes_.outputs, sizes_.order);
  std::vector<simt::Words4> packed(sets * fragments);
  for (uint32_t set = 0; set < sets; ++set) {
    const auto* const data = reinterpret_cast<const std::byte*>(weights_[set].data());
    PackMatrix({{DataType::kBf16, sizes_.outputs, sizes_.inputs, data}}, sizes_.order,
               &packed[set * fragments]);
  }
  ProductBf16 product;
  product.set = RowSet::kBlock;
  product.counts = Give<simt::In, ListCounts>(runtime, "counts", std::vector<ListCounts>{counts});
  product.inputs = sizes_.inputs;
  product.tiles = TilesOf(sizes_.outputs, sizes_.order);
  product.sets = sets;
  product.weights = Give<simt::Constant, simt::Words4>(runtime, "weights", packed);
  product.x = Give<simt::In, simt::Words2>(runtime, "operand",
                                           OperandOf(x_, sizes_.rows, sizes_.inputs, Bf16{0}));
  product.has_norm = sizes_.has_norm;
  product.epsilon = kEpsilon;
  if (sizes_.has_norm) {
    product.squares = Give<simt::In, simt::Words4>(runtime, "squares", squares_);
  }
  return product;
}

}  // namespace recurve::cuda
