// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CUDA_MEMORY_TAKER_H_
#define RECURVE_ENGINE_BACKEND_CUDA_MEMORY_TAKER_H_

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/runtime.h"

namespace recurve::cuda {

// Allocates device memory piece by piece and remembers the first error; after one it takes no more.
// Borrows the runtime. Thread-compatible.
class MemoryTaker {
 public:
  explicit MemoryTaker(Runtime& runtime) : runtime_(runtime) {}

  // `elements` of T without a value; at least one, so that each span has memory.
  template <typename T>
  void Take(const char* name, size_t elements, DeviceMemory* memory) {
    if (!status_.ok()) return;
    const auto taken = runtime_.Allocate(name, std::max<size_t>(1, elements) * sizeof(T));
    status_ = taken.status();
    if (taken.ok()) *memory = *taken;
  }

  // The same, every byte 0.
  template <typename T>
  void TakeZeros(const char* name, size_t elements, DeviceMemory* memory) {
    Take<T>(name, elements, memory);
    if (status_.ok()) status_ = runtime_.Clear(*memory);
  }

  const absl::Status& status() const { return status_; }

 private:
  Runtime& runtime_;
  absl::Status status_;
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_MEMORY_TAKER_H_
