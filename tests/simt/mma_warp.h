// SPDX-License-Identifier: Apache-2.0
// A matrix instruction of a whole warp, from the fragments of its lanes.
#ifndef RECURVE_TESTS_SIMT_MMA_WARP_H_
#define RECURVE_TESTS_SIMT_MMA_WARP_H_

namespace recurve {

namespace simt {
struct Words2;
struct Words4;
}  // namespace simt

// What one lane gives and gets.
struct MmaOperands {
  const simt::Words4* a = nullptr;
  const simt::Words2* b = nullptr;
  float* sums /* [4] */ = nullptr;
};

// mma.m16n8k16 of bf16 with f32 sums, bit for bit as Hopper's (mma_hopper.h), for the 32 lanes.
void MultiplyWarp(const MmaOperands* lanes /* [32] */);

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_MMA_WARP_H_
