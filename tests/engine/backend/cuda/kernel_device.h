// SPDX-License-Identifier: Apache-2.0
// The devices of the tests of single kernels: emulated ones (kernel_device_emulated.cc), or a card
// (kernel_device_card.cc), as the program was built.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_KERNEL_DEVICE_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_KERNEL_DEVICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/cuda/runtime.h"

namespace recurve::cuda {

// How a kernel is launched, and where: nothing of it may change a bit of what it writes.
struct Way {
  uint32_t rows;             // that the launch is cut for
  uint32_t multiprocessors;  // for which grids are cut; a card has its own
  bool programmatic;
  uint64_t seed;  // of the order of threads, which a card chooses itself
};

class KernelDevice {
 public:
  virtual ~KernelDevice() = default;
  virtual Runtime& runtime() = 0;
  // What the emulator's checks found, the first ones.
  virtual std::vector<std::string> reports() const = 0;
  // That launches of the kernel wrote; a card does not tell.
  virtual std::optional<uint64_t> BytesWritten(const std::string& kernel) const = 0;
};

std::unique_ptr<KernelDevice> MakeKernelDevice(const Way& way);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_KERNEL_DEVICE_H_
