// SPDX-License-Identifier: Apache-2.0
// The few instructions that CUDA C++ has no words for.
#ifndef RECURVE_TOOLS_GPU_CHECK_DEVICE_CUH_
#define RECURVE_TOOLS_GPU_CHECK_DEVICE_CUH_

#include <cstdint>

namespace recurve::gpu_check {

// Lets the next kernel of the stream start, once every block of this one has called it or ended.
__device__ inline void GridLaunch() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// Waits until the kernels before this one have ended and what they wrote is visible.
__device__ inline void GridWait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// Nanoseconds of a clock that all multiprocessors share.
__device__ inline uint64_t GlobalTimer() {
  uint64_t time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time)::"memory");
  return time;
}

// 16 bytes of what no kernel writes, past L1. Not by way of the non-coherent path (ld.global.nc):
// ptxas moves such loads behind a GridWait that follows them, and nothing is prefetched.
__device__ inline uint4 LoadConstant(const uint4* address) {
  uint4 value;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}

// d += a * b for a 16 x 16 tile of bf16 (a), a 16 x 8 one (b) and 16 x 8 floats (d), in the
// fragments of mma.m16n8k16.
__device__ inline void Mma16816(float (&d)[4], const uint4& a, const uint2& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_DEVICE_CUH_
