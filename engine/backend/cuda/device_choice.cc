// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device_choice.h"

#include "absl/strings/str_cat.h"

namespace recurve::cuda {
namespace {

// The lowest of CMAKE_CUDA_ARCHITECTURES.
constexpr uint32_t kLeastArchitecture = 80;

std::string VersionName(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

std::string ArchitectureName(uint32_t architecture) {
  return absl::StrCat(architecture / 10, ".", architecture % 10);
}

}  // namespace

absl::Status CheckFound(const FoundDevices& found, uint32_t device) {
  if (found.driver == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("this machine has no CUDA driver, and --backend=cuda needs one for CUDA ",
                     VersionName(found.needed), " or newer; install it, or use --backend=cpu"));
  }
  if (found.driver_too_old) {
    return absl::FailedPreconditionError(
        absl::StrCat("the CUDA driver of this machine is for CUDA ", VersionName(found.driver),
                     ", and --backend=cuda needs one for CUDA ", VersionName(found.needed),
                     " or newer; update it, or use --backend=cpu"));
  }
  if (found.devices == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the CUDA driver shows no device (", found.error,
        "), and --backend=cuda needs one; see nvidia-smi and CUDA_VISIBLE_DEVICES, or use "
        "--backend=cpu"));
  }
  if (device >= static_cast<uint32_t>(found.devices)) {
    return absl::InvalidArgumentError(absl::StrCat("--device is ", device,
                                                   "; the CUDA driver shows ", found.devices,
                                                   ", numbered from 0 on (CUDA_VISIBLE_DEVICES)"));
  }
  return absl::OkStatus();
}

absl::Status CheckArchitecture(const DeviceFacts& facts, uint32_t device) {
  if (facts.architecture >= kLeastArchitecture) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("device ", device, ", ", facts.name, ", has compute capability ",
                   ArchitectureName(facts.architecture), ", and --backend=cuda needs ",
                   ArchitectureName(kLeastArchitecture),
                   " or newer; choose another with --device, or use --backend=cpu"));
}

}  // namespace recurve::cuda
