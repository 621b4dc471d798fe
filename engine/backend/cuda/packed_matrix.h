// SPDX-License-Identifier: Apache-2.0
// Weights in the order of the tensor cores (tensor_core.h).
#ifndef RECURVE_ENGINE_BACKEND_CUDA_PACKED_MATRIX_H_
#define RECURVE_ENGINE_BACKEND_CUDA_PACKED_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/tensor_core.h"
#include "engine/model/weights.h"

namespace recurve::cuda {

// One set of weights: matrices of equal columns whose rows are the outputs, one after the other.
using MatrixParts = std::vector<Tensor>;

// Fragments of one set: [tiles][steps][32 lanes].
size_t PackedFragments(uint32_t inputs, uint32_t outputs, OutputOrder order);

// Writes the fragments of `parts`, rounded to bf16; outputs and inputs beyond are zero.
void PackMatrix(const MatrixParts& parts, OutputOrder order,
                simt::Words4* out /* [PackedFragments(...)] */);

// The same set row after row, in the order of the tiles: [16 * tiles][16 * steps].
std::vector<Bf16> PlainMatrix(const MatrixParts& parts, OutputOrder order);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_PACKED_MATRIX_H_
