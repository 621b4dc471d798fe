// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CUDA_DEVICE_MEMORY_H_
#define RECURVE_ENGINE_BACKEND_CUDA_DEVICE_MEMORY_H_

#include <cstddef>

namespace recurve {

// Memory of a device, named and owned by the runtime that allocated it. A plain value.
struct DeviceMemory {
  std::byte* data = nullptr;  // an address of the device
  size_t bytes = 0;
  void* tracker = nullptr;  // an emulated runtime's account of it; else null
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CUDA_DEVICE_MEMORY_H_
