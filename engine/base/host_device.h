// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_HOST_DEVICE_H_
#define RECURVE_ENGINE_BASE_HOST_DEVICE_H_

// Marks a function that device code calls too.
#if defined(__CUDACC__)
#define RECURVE_HOST_DEVICE __host__ __device__
#else
#define RECURVE_HOST_DEVICE
#endif

#endif  // RECURVE_ENGINE_BASE_HOST_DEVICE_H_
