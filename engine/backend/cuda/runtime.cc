// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/runtime.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// Between two looks whether a mark is reached: well below the time of a step.
constexpr std::chrono::microseconds kNap{5};

}  // namespace

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

absl::Status Runtime::CheckShape(const char* name, const LaunchShape& shape) const {
  const size_t most_shared = facts().shared_bytes;
  if (shape.blocks > 0 && shape.threads > 0 && shape.threads <= kMostThreads &&
      shape.shared_bytes <= most_shared) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "kernel ", name, " has ", shape.blocks, " blocks of ", shape.threads, " threads and ",
      shape.shared_bytes, " bytes of shared memory; device ", facts().name,
      " runs 1 or more, of 1 to ", kMostThreads, " and at most ", most_shared));
}

absl::Status Runtime::Launch(const Kernel& kernel, const LaunchShape& shape, const void* args) {
  RETURN_IF_ERROR(CheckShape(kernel.name, shape));
  RETURN_IF_ERROR(DoLaunch(kernel, shape, args));
  return Launched(kernel.name, shape.work);
}

absl::Status Runtime::Multiply(const PlainProduct& product, const WorkCount& work) {
  RETURN_IF_ERROR(DoMultiply(product));
  return Launched("library_product", work);
}

absl::Status Runtime::Launched(const char* name, const WorkCount& work) {
  if (counted_ != nullptr) AddLaunch(name, work, *counted_);
  if (!check_timeout_.has_value()) return absl::OkStatus();
  RETURN_IF_ERROR(Mark(kLaunchMark));
  const absl::Status ran = WaitFor(kLaunchMark, name, *check_timeout_);
  return ran.ok() ? ran
                  : absl::Status(ran.code(), absl::StrCat("after the launch of ", name, ": ",
                                                          std::string(ran.message())));
}

absl::Status Runtime::WaitFor(uint32_t mark, std::string_view what,
                              std::chrono::milliseconds timeout) {
  const auto begin = std::chrono::steady_clock::now();
  while (true) {
    ASSIGN_OR_RETURN(const bool reached, Reached(mark));
    if (reached) return absl::OkStatus();
    if (std::chrono::steady_clock::now() - begin > timeout) {
      return absl::UnavailableError(absl::StrCat(std::string(what), " has not come back after ",
                                                 timeout.count(), " ms (step_timeout)"));
    }
    std::this_thread::sleep_for(kNap);
  }
}

absl::Status Runtime::NoMemory(std::string_view name, size_t bytes, uint64_t free) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "the device has no memory for '", std::string(name), "': ", bytes, " bytes asked for, ", free,
      " free; lower --kv_pages, --slots or --max_context, or give --device another"));
}

}  // namespace recurve
