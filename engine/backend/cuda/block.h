// SPDX-License-Identifier: Apache-2.0
// What the threads of a warp or of a block do together: all of them call these. Those of a block
// begin with nobody reading `scratch` and end so. Within a warp values go by shuffles, and across
// warps once through shared memory, so that a block waits twice whatever its size.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_BLOCK_H_
#define RECURVE_ENGINE_BACKEND_CUDA_BLOCK_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/cuda/simt.h"

namespace recurve::cuda {

// `value` of the first `lanes` lanes of a warp combined by `op`, which takes them in any order and
// grouping.
template <typename T, typename Op>
RECURVE_DEVICE T WarpReduce(T value, Op op, uint32_t lanes = simt::kWarp) {
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  for (uint32_t step = simt::kWarp / 2; step > 0; step /= 2) {
    const T other = simt::ShuffleXor(value, step);
    // What a lane holds by now comes from the lanes that equal it modulo 2 * step, if any has one.
    const bool has_own = lane % (2 * step) < lanes;
    const bool has_other = (lane ^ step) % (2 * step) < lanes;
    if (has_other) value = has_own ? op(value, other) : other;
  }
  return value;
}

template <typename T>
RECURVE_DEVICE T WarpSum(T value) {
  return WarpReduce(value, [](T a, T b) { return a + b; });
}

// Sums of `value` over the lanes of a warp.
template <typename T>
struct WarpSums {
  T up_to_own;  // this lane's and those of all before it
  T all;
};
template <typename T>
RECURVE_DEVICE WarpSums<T> WarpScan(T value) {
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  WarpSums<T> sums = {value, value};
  for (uint32_t step = 1; step < simt::kWarp; step *= 2) {
    const T other = simt::ShuffleXor(sums.all, step);
    if ((lane & step) != 0) sums.up_to_own += other;
    sums.all += other;
  }
  return sums;
}

// `value` of all threads combined by `op`, which takes them in any order and grouping.
template <typename T, typename Op>
RECURVE_DEVICE T BlockReduce(T value, simt::SharedArray<T> scratch /* [BlockSize()] */, Op op) {
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  const uint32_t warps = simt::BlockSize() / simt::kWarp;
  value = WarpReduce(value, op);
  if (lane == 0) scratch[simt::ThreadIndex() / simt::kWarp] = value;
  simt::SyncBlock();
  const T of_warp = scratch[lane < warps ? lane : 0];
  simt::SyncBlock();
  return WarpReduce(of_warp, op, warps);
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
RECURVE_DEVICE T BlockScan(T value, simt::SharedArray<T> scratch /* [BlockSize()] */) {
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  const uint32_t warp = simt::ThreadIndex() / simt::kWarp;
  const WarpSums<T> sums = WarpScan(value);
  if (lane == 0) scratch[warp] = sums.all;
  simt::SyncBlock();
  const T before = lane < warp ? scratch[lane] : T{0};
  simt::SyncBlock();
  return WarpSum(before) + sums.up_to_own;
}

// Whether this block is the last of `blocks` that come here with counter `i`, which is 0 before the
// first and behind the last. The last one sees what all of them wrote before. Nobody waits for
// another block.
RECURVE_DEVICE inline bool IsLastBlock(const simt::Out<uint32_t>& came, size_t i, uint32_t blocks,
                                       simt::SharedArray<uint32_t> scratch /* [1] */) {
  simt::SyncBlock();
  if (simt::ThreadIndex() == 0) {
    simt::FenceDevice();
    const bool is_last = came.Add(i, 1) + 1 == blocks;
    if (is_last) came.Set(i, 0);
    simt::FenceDevice();
    scratch[0] = is_last ? 1 : 0;
  }
  simt::SyncBlock();
  return scratch[0] != 0;
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_BLOCK_H_
