// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_UNROLL_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_UNROLL_H_

// Before a loop of constant length over an array that must live in registers.
#if defined(__clang__)
#define RECURVE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RECURVE_UNROLL _Pragma("GCC unroll 16")
#endif

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_UNROLL_H_
