// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/kernel_device.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {
namespace {

EmulatedOptions OptionsOf(const Way& way) {
  EmulatedOptions options;
  options.facts.multiprocessors = way.multiprocessors;
  options.seed = way.seed;
  return options;
}

class EmulatedDevice final : public KernelDevice {
 public:
  explicit EmulatedDevice(const Way& way) : runtime_(OptionsOf(way)) {}

  Runtime& runtime() override { return runtime_; }
  std::vector<std::string> reports() const override { return runtime_.reports(); }
  std::optional<uint64_t> BytesWritten(const std::string& kernel) const override {
    return runtime_.kernels()[kernel].bytes_written;
  }

 private:
  EmulatedRuntime runtime_;
};

}  // namespace

std::unique_ptr<KernelDevice> MakeKernelDevice(const Way& way) {
  return std::make_unique<EmulatedDevice>(way);
}

}  // namespace recurve::cuda
