// SPDX-License-Identifier: Apache-2.0
// The product of linear.cuh for many rows, by wgmma: the same weights, the same segments of k, the
// same bits. A block makes kGroups m64 tiles by N rows: each warpgroup holds the sums of its tile,
// and one more warp copies weights and rows, four k16 steps at a time, into a ring in shared
// memory.
//
// Rows lie in [N rows][k16 step][half of the step][n8][8 rows][8 bf16]: the halves hold the values
// in the order in which the packed weights take them.
#ifndef RECURVE_TOOLS_GPU_CHECK_LINEAR_WIDE_CUH_
#define RECURVE_TOOLS_GPU_CHECK_LINEAR_WIDE_CUH_

#include "tools/gpu_check/linear.cuh"

namespace recurve::gpu_check {

constexpr int kChunk = 4;  // k16 steps in one stage of the ring

// Where value k of a row lies, of rows in tiles of `tile_rows`.
__host__ __device__ inline size_t WideRowIndex(int row, int k, int steps, int tile_rows) {
  const int slot = k % 4 < 2 ? k % 16 / 4 * 2 + k % 4 : 8 + k % 16 / 4 * 2 + k % 4 - 2;
  const size_t step = static_cast<size_t>(row / tile_rows) * steps + k / 16;
  const int half = slot / 8 * (tile_rows / 8) + row % tile_rows / 8;
  return step * tile_rows * 16 + half * 64 + row % 8 * 8 + slot % 8;
}

// d = a * b (add = 0) or d += a * b for a warpgroup's m64 tile, a in registers, b in shared memory.
template <int N>
__device__ void Wgmma(float (&d)[N / 2], const uint4& a, uint64_t b, int add);
template <>
__device__ inline void Wgmma<64>(float (&d)[32], const uint4& a, uint64_t b, int add) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "
      "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n"
      "}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b), "r"(add));
}
template <>
__device__ inline void Wgmma<128>(float (&d)[64], const uint4& a, uint64_t b, int add) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "
      "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "
      "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1, 0;\n"
      "}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]),
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]),
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]),
        "+f"(d[63])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b), "r"(add));
}

__device__ inline uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
__device__ inline void BarrierInit(uint64_t* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)), "r"(count)
               : "memory");
}
__device__ inline void BarrierArrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}
__device__ inline void BarrierExpect(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
__device__ inline void BarrierWait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@!p bra again;\n"
      "}\n" ::"r"(SharedAddress(barrier)),
      "r"(parity)
      : "memory");
}
// Copies `bytes` into shared memory; the barrier counts them as they land.
__device__ inline void BulkCopy(void* shared, const void* global, int bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(SharedAddress(shared)),
      "l"(global), "r"(bytes), "r"(SharedAddress(barrier))
      : "memory");
}

__host__ __device__ constexpr int WideStageBytes(int groups, int n) {
  return kChunk * (groups * 4 * 32 * static_cast<int>(sizeof(uint4)) + n * 16 * 2);
}

// Grid: {rows / N rounded up, m / (64 kGroups)}; kGroups * 128 + 32 threads. Dynamic shared memory:
// kStages * WideStageBytes. k is a multiple of 16 kSegments kChunk.
template <int kGroups, int N, int kStages>
__global__ void __launch_bounds__(kGroups * 128 + 32, kGroups* N > 128 ? 1 : 2)
    LinearWide(const LinearArguments p) {
  extern __shared__ __align__(128) unsigned char ring[];
  __shared__ uint64_t full[kStages];
  __shared__ uint64_t empty[kStages];
  constexpr int kStageBytes = WideStageBytes(kGroups, N);
  constexpr int kTileBytes = kChunk * 32 * static_cast<int>(sizeof(uint4));  // of an m16 tile
  constexpr int kRowBytes = kChunk * N * 16 * 2;
  const int thread = static_cast<int>(threadIdx.x);
  const int steps = p.k / 16;
  const int chunks = steps / kChunk;
  const int tile = static_cast<int>(blockIdx.y) * kGroups * 4;
  if (thread == 0) {
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(&full[i], 1);
      BarrierInit(&empty[i], kGroups * 128);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  GridLaunch();
  if (thread >= kGroups * 128) {
    if (thread > kGroups * 128) return;
    const auto* x =
        reinterpret_cast<const unsigned char*>(p.x) + static_cast<size_t>(blockIdx.x) * N * p.k * 2;
    const auto weights = [&](int chunk) {
      unsigned char* stage = ring + chunk % kStages * kStageBytes;
      BarrierExpect(&full[chunk % kStages], kStageBytes);
      for (int t = 0; t < kGroups * 4; ++t) {
        BulkCopy(stage + t * kTileBytes,
                 p.weights + (static_cast<size_t>(tile + t) * steps + chunk * kChunk) * 32,
                 kTileBytes, &full[chunk % kStages]);
      }
    };
    const auto rows = [&](int chunk) {
      BulkCopy(ring + chunk % kStages * kStageBytes + kGroups * 4 * kTileBytes,
               x + static_cast<size_t>(chunk) * kRowBytes, kRowBytes, &full[chunk % kStages]);
    };
    for (int chunk = 0; chunk < min(kStages, chunks); ++chunk) weights(chunk);
    GridWait();
    asm volatile("fence.proxy.async;" ::: "memory");
    for (int chunk = 0; chunk < min(kStages, chunks); ++chunk) rows(chunk);
    for (int chunk = kStages; chunk < chunks; ++chunk) {
      BarrierWait(&empty[chunk % kStages], (chunk / kStages - 1) % 2);
      weights(chunk);
      rows(chunk);
    }
    return;
  }
  GridWait();
  const int warp = thread / 32;
  const int lane = thread % 32;
  float sum[N / 2];
  float part[N / 2];
#pragma unroll
  for (int i = 0; i < N / 2; ++i) sum[i] = part[i] = 0.0F;
  // Products of two steps run while the weights of the next two are fetched.
  uint4 a[2][kChunk / 2];
  int chunk = 0;
  for (int segment = 0; segment < kSegments; ++segment) {
    for (int left = chunks / kSegments; left > 0; --left, ++chunk) {
      const bool first = left == chunks / kSegments;
      const unsigned char* stage = ring + chunk % kStages * kStageBytes;
      // N * 16 bytes from one half of a step to the other, 128 from 8 rows to the next.
      const uint64_t rows =
          uint64_t{(SharedAddress(stage + kGroups * 4 * kTileBytes) & 0x3FFFF) >> 4} |
          uint64_t{N * 16 >> 4} << 16 | uint64_t{128 >> 4} << 32;
      BarrierWait(&full[chunk % kStages], chunk / kStages % 2);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < kChunk / 2; ++i) {
          const int step = half * kChunk / 2 + i;
          a[half][i] = reinterpret_cast<const uint4*>(stage + warp * kTileBytes)[step * 32 + lane];
        }
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int i = 0; i < kChunk / 2; ++i) {
          const int step = half * kChunk / 2 + i;
          Wgmma<N>(part, a[half][i], rows + step * (N * 32 >> 4), !first || step > 0);
        }
        asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;" ::
                         : "memory");
        if (half == 0 && !first) BarrierArrive(&empty[(chunk - 1) % kStages]);
      }
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    BarrierArrive(&empty[(chunk - 1) % kStages]);
#pragma unroll
    for (int i = 0; i < N / 2; ++i) sum[i] = segment == 0 ? part[i] : sum[i] + part[i];
  }
  const float scale[2] = {1.0F, 1.0F};
#pragma unroll
  for (int i = 0; i < N / 8; ++i) {
    const int row = static_cast<int>(blockIdx.x) * N + i * 8 + lane % 4 * 2;
    float4 residual = {0.0F, 0.0F, 0.0F, 0.0F};
    if (p.output == Output::kResidual) residual = LoadResidual(p, tile + warp, row);
    Store(p, tile + warp, row, scale, {sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]},
          residual);
  }
}

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_LINEAR_WIDE_CUH_
