// SPDX-License-Identifier: Apache-2.0
// What the threads of a block do together. Every thread of the block calls these; they begin with
// nobody reading `scratch` and end so.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_BLOCK_H_
#define RECURVE_ENGINE_BACKEND_CUDA_BLOCK_H_

#include <cstdint>

#include "engine/backend/cuda/simt.h"

namespace recurve::cuda {

// `value` of all threads combined by `op`, which takes them in any order and grouping.
template <typename T, typename Op>
RECURVE_DEVICE T BlockReduce(T value, simt::SharedArray<T> scratch /* [BlockSize()] */, Op op) {
  const uint32_t thread = simt::ThreadIndex();
  scratch[thread] = value;
  simt::SyncBlock();
  for (uint32_t width = simt::BlockSize(); width > 1;) {
    const uint32_t half = (width + 1) / 2;
    if (thread + half < width) scratch[thread] = op(scratch[thread], scratch[thread + half]);
    simt::SyncBlock();
    width = half;
  }
  const T result = scratch[0];
  simt::SyncBlock();
  return result;
}

template <typename T>
RECURVE_DEVICE T BlockSum(T value, simt::SharedArray<T> scratch) {
  return BlockReduce(value, scratch, [](T a, T b) { return a + b; });
}
template <typename T>
RECURVE_DEVICE T BlockMax(T value, simt::SharedArray<T> scratch) {
  return BlockReduce(value, scratch, [](T a, T b) { return a < b ? b : a; });
}

// The sum of `value` over this thread and all before it.
template <typename T>
RECURVE_DEVICE T BlockScan(T value, simt::SharedArray<T> scratch /* [2 * BlockSize()] */) {
  const uint32_t thread = simt::ThreadIndex();
  const uint32_t threads = simt::BlockSize();
  uint32_t from = 0;
  scratch[thread] = value;
  simt::SyncBlock();
  for (uint32_t step = 1; step < threads; step *= 2) {
    const T before = thread >= step ? scratch[from + thread - step] : T{0};
    scratch[threads - from + thread] = scratch[from + thread] + before;
    from = threads - from;
    simt::SyncBlock();
  }
  const T sum = scratch[from + thread];
  simt::SyncBlock();
  return sum;
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_BLOCK_H_
