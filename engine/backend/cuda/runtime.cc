// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/runtime.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {

absl::StatusOr<DeviceMemory> Runtime::Allocate(std::string_view name, size_t bytes) {
  ASSIGN_OR_RETURN(const DeviceMemory memory, DoAllocate(name, bytes));
  allocated_.push_back({std::string(name), bytes});
  return memory;
}

absl::StatusOr<MappedMemory> Runtime::AllocateMapped(std::string_view name, size_t bytes) {
  ASSIGN_OR_RETURN(const MappedMemory memory, DoAllocateMapped(name, bytes));
  allocated_.push_back({absl::StrCat(std::string(name), ", of the host"), bytes});
  return memory;
}

absl::Status Runtime::NoMemory(std::string_view name, size_t bytes, uint64_t free) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "the device has no memory for '", std::string(name), "': ", bytes, " bytes asked for, ", free,
      " free; lower --kv_pages, --slots or --max_context, or give --device another"));
}

}  // namespace recurve
