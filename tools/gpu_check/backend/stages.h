// SPDX-License-Identifier: Apache-2.0
// The stages of recurve-backend-check. Each prints its lines and returns the number of findings:
// bits that are not as expected, and steps that failed.
#ifndef RECURVE_TOOLS_GPU_CHECK_BACKEND_STAGES_H_
#define RECURVE_TOOLS_GPU_CHECK_BACKEND_STAGES_H_

#include <cstdint>
#include <string>

namespace recurve::gpu_check {

struct StageOptions {
  bool smallest = false;  // the first case alone, for what runs a hundred times slower
  bool eager = false;     // kernels launched by themselves
  uint64_t loads = 60;    // random ones, but for `smallest`
  std::string digests;    // the file of bf16_digests
  bool write = false;     // whether it is written, not compared with
};

// Each step in f32 compared with the scalar CPU backend's.
int F32TwinStage(const StageOptions& options);

// Digests of all steps in bf16 compared with those that an emulated device wrote.
int Bf16DigestsStage(const StageOptions& options);

// In bf16, each request's results over what may not matter: how kernels are launched and cut, what
// is queued, how prompts are cut, who is beside it.
int InvarianceStage(const StageOptions& options);

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_BACKEND_STAGES_H_
