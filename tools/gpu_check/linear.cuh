// SPDX-License-Identifier: Apache-2.0
// The matrix product of packed weights with a few rows: out[r][m] = sum over k of w[m][k] x[r][k].
//
// Both lie in the order in which the tensor cores take them. Weights are the 16-row operand, in
// [m16 tile][k16 step][lane][8 bf16], so that one 16-byte load a lane is the fragment of one step;
// rows are the n = 8 operand, in [n8 tile][k16 step][8 rows][16 bf16]: one 8-byte load a lane,
// without gaps in a warp. Within a step lane % 4 = q holds the products of k = 4q .. 4q + 3; the
// sum of a step has no order. What a block makes of a tile is a block of the next product's
// operand.
//
// k is cut into 8 segments of equal steps, each summed from zero by one warp, and their sums are
// added in order. The segments are the warps of one block, or of a cluster of kSplit blocks.
//
// Bytes: m k 2 of weights, once for 8 NT rows. FLOPs: 2 m k for each row.
#ifndef RECURVE_TOOLS_GPU_CHECK_LINEAR_CUH_
#define RECURVE_TOOLS_GPU_CHECK_LINEAR_CUH_

#include <cuda_bf16.h>

#include "engine/base/math.h"
#include "tools/gpu_check/device.cuh"

namespace recurve::gpu_check {

constexpr int kSegments = 8;  // parts of k, of which each is summed from zero
constexpr int kLinearThreads = kSegments * 32;

// Where value k of a row lies in the operand of `steps` k16 steps.
__host__ __device__ inline size_t RowIndex(int row, int k, int steps) {
  return (static_cast<size_t>(row / 8) * steps + k / 16) * 128 + row % 8 * 16 + k % 16;
}

// What becomes of a sum. bf16 outputs but kBf16 are operands of the next product.

enum class Output {
  kFloat,     // out f32 [rows][m]
  kBf16,      // out bf16 [rows][m]
  kGated,     // out bf16 [rows][m / 2]: silu(gate) * up, 8 rows of the one after 8 of the other
  kResidual,  // residual f32 [rows][m] += it; out bf16 [rows][m] takes the new residual; squares
              // f32 [rows][m / 16] takes the sum of squares of 16 columns
};

struct LinearArguments {
  const uint4* weights = nullptr;
  const __nv_bfloat16* x = nullptr;  // rows rounded up to 8 NT
  int m = 0;                         // multiple of 16 MT
  int k = 0;                         // multiple of 16
  int rows = 0;
  Output output = Output::kFloat;
  void* out = nullptr;
  float* residual = nullptr;
  float* squares = nullptr;
  // If set, of each row [kSquares]: the row counts as divided by the root of its mean square.
  const float* squares_in = nullptr;
  bool prefetch = true;        // loads weights before it waits for its predecessor
  uint64_t* stamps = nullptr;  // [kStamps], of kernels that are timed
};

constexpr int kSquares =
    128;  // parts that the sum of a row's squares comes in; zeros after the last

// A lane's parts of the sum of squares of row threadIdx.x / 8 of the block.
struct Squares {
  float4 part[kSquares / 32];
};
__device__ inline Squares LoadSquares(const float* squares, int row) {
  const auto* parts =
      reinterpret_cast<const float4*>(squares + static_cast<size_t>(row) * kSquares);
  Squares result;
#pragma unroll
  for (int i = 0; i < kSquares / 32; ++i) {
    result.part[i] = parts[static_cast<int>(threadIdx.x) % 8 * (kSquares / 32) + i];
  }
  return result;
}

// 1 / root of the mean square of `width` values, for 8 lanes that hold a row's parts.
__device__ inline float InverseRms(const Squares& squares, int width) {
  float sum = 0.0F;
#pragma unroll
  for (const float4& part : squares.part) sum += ((part.x + part.y) + part.z) + part.w;
  for (int step = 1; step < 8; step *= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
  return 1.0F / sqrtf(sum / static_cast<float>(width) + 1e-5F);
}

// When the first thread of a timed kernel had
enum Stamp {
  kBegun,
  kPrefetched,  // enqueued its loads of weights
  kWaited,      // seen its predecessor end
  kSummed,      // the sums of its segment
  kNormed,      // the scales of the rows
  kMet,         // met the other segments
  kStored,      // stored its results
  kStamps
};

// The residual that Store adds to, as it lies in d: features g and g + 8 of rows `row`, row + 1.
__device__ inline float4 LoadResidual(const LinearArguments& p, int tile, int row) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const float* at = p.residual + static_cast<size_t>(row) * p.m + tile * 16 + g;
  return {at[0], at[p.m], at[8], at[p.m + 8]};
}

// What a warp does with the sums d of tile `tile` and rows `row`, row + 1: those of lane / 4 and
// lane / 4 + 8 of the tile.
__device__ inline void Store(const LinearArguments& p, int tile, int row, const float (&scale)[2],
                             const float4& d, const float4& residual) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const float low[2] = {d.x * scale[0], d.y * scale[1]};
  const float high[2] = {d.z * scale[0], d.w * scale[1]};
  const float before[2][2] = {{residual.x, residual.z}, {residual.y, residual.w}};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool there = row + i < p.rows;
    const size_t at = static_cast<size_t>(row + i) * p.m + tile * 16 + g;
    if (p.output == Output::kFloat) {
      if (!there) continue;
      static_cast<float*>(p.out)[at] = low[i];
      static_cast<float*>(p.out)[at + 8] = high[i];
    } else if (p.output == Output::kBf16) {
      if (!there) continue;
      static_cast<__nv_bfloat16*>(p.out)[at] = __float2bfloat16_rn(low[i]);
      static_cast<__nv_bfloat16*>(p.out)[at + 8] = __float2bfloat16_rn(high[i]);
    } else if (p.output == Output::kGated) {
      if (!there) continue;
      const size_t half = RowIndex(row + i, tile * 8 + g, p.m / 32);
      static_cast<__nv_bfloat16*>(p.out)[half] = __float2bfloat16_rn(Silu(low[i]) * high[i]);
    } else {
      float square = 0.0F;
      if (there) {
        const float x = before[i][0] + low[i];
        const float y = before[i][1] + high[i];
        p.residual[at] = x;
        p.residual[at + 8] = y;
        const size_t operand = RowIndex(row + i, tile * 16 + g, p.m / 16);
        static_cast<__nv_bfloat16*>(p.out)[operand] = __float2bfloat16_rn(x);
        static_cast<__nv_bfloat16*>(p.out)[operand + 8] = __float2bfloat16_rn(y);
        square = Fma(x, x, y * y);
      }
      for (int step = 4; step < 32; step *= 2) square += __shfl_xor_sync(0xFFFFFFFF, square, step);
      if (there && g == 0) p.squares[static_cast<size_t>(row + i) * kSquares + tile] = square;
    }
  }
}

// The sums of one segment of k for MT tiles and NT groups of rows.
template <int MT, int NT>
using Sums = float[MT][NT][4];

// Grid: {rows / (8 NT) rounded up, m / (16 MT)}, so that blocks with the same weights run together;
// LinearSharedBytes of dynamic shared memory. kAhead
// steps of weights, MT * kAhead loads a lane, are in flight. `squares_in` has parts for rows
// rounded up to 8 NT.
template <int MT, int NT, int kAhead, bool kTimed = false>
__global__ void __launch_bounds__(kLinearThreads, 2) Linear(const LinearArguments p) {
  extern __shared__ float4 partial[];  // [segment][MT * NT][lane]
  __shared__ float scales[8 * NT];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int segment = static_cast<int>(threadIdx.x) / 32;
  const int tile = static_cast<int>(blockIdx.y) * MT;
  const int row = static_cast<int>(blockIdx.x) * 8 * NT;
  const auto stamp = [&](Stamp which) {
    if (kTimed && blockIdx.y == 0 && threadIdx.x == 0) p.stamps[which] = GlobalTimer();
  };
  stamp(kBegun);
  const int steps = p.k / 16;
  const int first = segment * steps / kSegments;
  const int count = (segment + 1) * steps / kSegments - first;
  const uint4* weights = p.weights + (static_cast<size_t>(tile) * steps + first) * 32 + lane;

  GridLaunch();
  if (!p.prefetch) GridWait();
  uint4 a[kAhead][MT];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
#pragma unroll
    for (int t = 0; t < MT; ++t) {
      a[i][t] = i < count ? LoadConstant(weights + (t * steps + i) * 32) : uint4{0, 0, 0, 0};
    }
  }
  stamp(kPrefetched);
  GridWait();
  stamp(kWaited);

  // Rows are loaded a batch of steps ahead.
  constexpr int kBatch = NT >= 4 ? 1 : (4 / NT < kAhead ? 4 / NT : kAhead);
  const uint2* x = reinterpret_cast<const uint2*>(p.x) +
                   (static_cast<size_t>(row / 8) * steps + first) * 32 + lane;
  uint2 next[kBatch][NT];
  const auto load = [&](int step) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        next[i][n] = step + i < count ? x[(n * steps + step + i) * 32] : uint2{0, 0};
      }
    }
  };
  load(0);
  // With few rows, what the epilogue needs is on its way during the sums.
  constexpr bool kEarly = MT * NT <= 2;
  const bool normed = p.squares_in != nullptr && threadIdx.x < 64 * NT;
  Squares squares;
  if (kEarly && normed) {
    squares = LoadSquares(p.squares_in, row + static_cast<int>(threadIdx.x) / 8);
  }
  float4 residual = {0.0F, 0.0F, 0.0F, 0.0F};
  if (kEarly && p.output == Output::kResidual && segment < MT * NT) {
    residual = LoadResidual(p, tile + segment / NT, row + segment % NT * 8 + lane % 4 * 2);
  }
  Sums<MT, NT> sum = {};
  for (int base = 0; base < count; base += kAhead) {
#pragma unroll
    for (int batch = 0; batch < kAhead; batch += kBatch) {
      uint2 b[kBatch][NT];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
#pragma unroll
        for (int n = 0; n < NT; ++n) b[i][n] = next[i][n];
      }
      load(base + batch + kBatch);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int step = base + batch + i;
        if (step < count) {
#pragma unroll
          for (int t = 0; t < MT; ++t) {
#pragma unroll
            for (int n = 0; n < NT; ++n) Mma16816(sum[t][n], a[batch + i][t], b[i][n]);
          }
        }
#pragma unroll
        for (int t = 0; t < MT; ++t) {
          if (step + kAhead < count) {
            a[batch + i][t] = LoadConstant(weights + (t * steps + step + kAhead) * 32);
          }
        }
      }
    }
  }
  stamp(kSummed);
  for (int r = static_cast<int>(threadIdx.x) / 8; r < 8 * NT; r += kLinearThreads / 8) {
    float scale = 1.0F;
    if (p.squares_in != nullptr) {
      if (!kEarly) squares = LoadSquares(p.squares_in, row + r);
      scale = InverseRms(squares, p.k);
    }
    if (lane % 8 == 0) scales[r] = scale;
  }
  stamp(kNormed);
#pragma unroll
  for (int i = 0; i < MT * NT; ++i) {
    const float(&d)[4] = sum[i / NT][i % NT];
    partial[(segment * MT * NT + i) * 32 + lane] = {d[0], d[1], d[2], d[3]};
  }
  __syncthreads();
  stamp(kMet);
  for (int i = segment; i < MT * NT; i += kSegments) {
    float4 d = partial[i * 32 + lane];
    for (int other = 1; other < kSegments; ++other) {
      const float4 e = partial[(other * MT * NT + i) * 32 + lane];
      d = {d.x + e.x, d.y + e.y, d.z + e.z, d.w + e.w};
    }
    const int r = i % NT * 8 + lane % 4 * 2;
    const float scale[2] = {scales[r], scales[r + 1]};
    if (!kEarly && p.output == Output::kResidual) {
      residual = LoadResidual(p, tile + i / NT, row + r);
    }
    Store(p, tile + i / NT, row + r, scale, d, residual);
  }
  stamp(kStored);
}

constexpr size_t LinearSharedBytes(int mt, int nt) {
  return static_cast<size_t>(kSegments) * mt * nt * 32 * sizeof(float4);
}

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_LINEAR_CUH_
