// SPDX-License-Identifier: Apache-2.0
// A product of linear_bf16.h on the host, as its header says it, for comparison with the kernels.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_HOST_PRODUCT_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_HOST_PRODUCT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/linear_bf16.h"
#include "engine/backend/cuda/tensor_core.h"
#include "tests/engine/backend/cuda/kernel_data.h"

namespace recurve::cuda {

struct ProductSizes {
  uint32_t inputs = 0;
  uint32_t outputs = 0;
  uint32_t rows = 0;
  bool has_norm = false;
  OutputOrder order{};
  // The rows of each recursion, which have weights of their own; empty: all rows have one set.
  std::vector<uint32_t> recursions{};
};

// With random numbers.
class HostProduct {
 public:
  HostProduct(const ProductSizes& sizes, uint32_t seed);

  const ProductSizes& sizes() const { return sizes_; }

  // One output of a row, multiplied by the row's 1 / rms.
  float At(uint32_t row, uint32_t output) const;

  // What the kernel takes.
  ProductBf16 Upload(Runtime& runtime) const;

 private:
  const std::vector<Bf16>& WeightsOf(uint32_t row) const;
  float ScaleOf(uint32_t row) const;

  static constexpr float kEpsilon = 1e-3F;
  const ProductSizes sizes_;
  std::vector<std::vector<Bf16>> weights_;  // [sets][outputs * inputs]
  std::vector<Bf16> x_;                     // [rows][inputs]
  std::vector<float> squares_;              // [rows][SquaresOf(inputs)]
};

// The sum of eight numbers as pairs, pairs of pairs and so on.
float TreeOfEight(const float* values /* [8] */);

// `rows` rows of `inputs` numbers in the order of an operand; `fill` where there is none.
std::vector<Bf16> OperandOf(const std::vector<Bf16>& values, uint32_t rows, uint32_t inputs,
                            Bf16 fill);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_HOST_PRODUCT_H_
