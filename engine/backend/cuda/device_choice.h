// SPDX-License-Identifier: Apache-2.0
// Whether a machine has what this backend needs, as the user reads it.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_DEVICE_CHOICE_H_
#define RECURVE_ENGINE_BACKEND_CUDA_DEVICE_CHOICE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/backend/cuda/runtime.h"

namespace recurve::cuda {

// What the CUDA runtime says of a machine. Versions are its: 13000 is CUDA 13.0.
struct FoundDevices {
  int driver = 0;  // the newest version that the driver can do; 0: there is no driver
  int needed = 0;  // what this program was compiled for
  bool driver_too_old = false;
  int devices = 0;
  std::string error;  // why there are none
};

// FailedPrecondition says, in one sentence, what was found, what is needed and what to do; with
// devices, InvalidArgument if there is none with the number `device`.
absl::Status CheckFound(const FoundDevices& found, uint32_t device);

// FailedPrecondition if device number `device` is of an older kind than kernels are compiled for.
absl::Status CheckArchitecture(const DeviceFacts& facts, uint32_t device);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_DEVICE_CHOICE_H_
