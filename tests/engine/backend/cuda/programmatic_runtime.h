// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_PROGRAMMATIC_RUNTIME_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_PROGRAMMATIC_RUNTIME_H_

#include "absl/status/status.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {

// Each kernel may begin before the one before it has ended, whether its launch asks for that or
// not, so that each must wait where simt.h says.
class ProgrammaticRuntime final : public EmulatedRuntime {
 public:
  using EmulatedRuntime::EmulatedRuntime;

 private:
  absl::Status DoLaunch(const Kernel& kernel, const LaunchShape& shape, const void* args) override {
    LaunchShape early = shape;
    early.programmatic = true;
    return EmulatedRuntime::DoLaunch(kernel, early, args);
  }
};

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_PROGRAMMATIC_RUNTIME_H_
