// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_DEVICE_VECTORS_H_
#define RECURVE_TESTS_SIMT_DEVICE_VECTORS_H_

#include <string_view>
#include <vector>

#include "engine/backend/cuda/runtime.h"
#include "gtest/gtest.h"

namespace recurve {

// New memory of `runtime` with the elements of `values`.
template <typename T>
DeviceMemory Uploaded(Runtime& runtime, std::string_view name, const std::vector<T>& values) {
  const auto memory = runtime.Allocate(name, values.size() * sizeof(T));
  EXPECT_TRUE(memory.ok()) << memory.status();
  const absl::Status status = runtime.Upload(*memory, 0, values.data(), values.size() * sizeof(T));
  EXPECT_TRUE(status.ok()) << status;
  return *memory;
}

// All of `memory`.
template <typename T>
std::vector<T> Downloaded(Runtime& runtime, const DeviceMemory& memory) {
  std::vector<T> values(memory.bytes / sizeof(T));
  const absl::Status status = runtime.Download(values.data(), memory, 0, memory.bytes);
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_DEVICE_VECTORS_H_
