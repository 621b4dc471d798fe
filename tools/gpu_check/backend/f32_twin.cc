// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <utility>

#include "engine/backend/factory/make_backend.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/cuda/model_load.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/twin_backend.h"
#include "tools/gpu_check/backend/cases.h"
#include "tools/gpu_check/backend/device_backend.h"
#include "tools/gpu_check/backend/stages.h"
#include "tools/gpu_check/backend/step_digest.h"
#include "tools/gpu_check/report.h"

namespace recurve::gpu_check {
namespace {

constexpr char kStage[] = "f32_twin";

// The device beside the plainest backend that there is.
absl::StatusOr<std::unique_ptr<Backend>> MakeTwin(std::shared_ptr<const Model> model,
                                                  const BackendLimits& limits, bool eager,
                                                  const cuda::LoadDevice& device) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<Backend> first,
      MakeDeviceBackend(model, limits,
                        {.precision = Precision::kF32, .eager = eager, .device = device}));
  BackendOptions cpu;
  cpu.precision = Precision::kF32;
  cpu.threads = 1;
  cpu.isa = "scalar";
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> second, MakeBackend(std::move(model), cpu, limits));
  return std::make_unique<TwinBackend>(std::move(first), std::move(second));
}

absl::Status RunCase(const Case& run, bool eager, StepDigest& digest) {
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> twin, MakeTwin(run.model, run.limits, eager, {}));
  DigestedBackend backend(std::move(twin), digest);
  return RunRequests(backend, run.model->config, run.limits, run.requests, {.depth = 1}).status();
}

// 1 if there was something to find.
int Tell(const std::string& name, uint64_t steps, const std::string& difference) {
  std::vector<Field> fields = {{"steps", static_cast<double>(steps)},
                               {"wrong", difference.empty() ? 0.0 : 1.0}};
  if (!difference.empty()) fields.emplace_back("difference", difference);
  Report(kStage, name, fields);
  return difference.empty() ? 0 : 1;
}

int RunLoads(const StageOptions& options) {
  cuda::ModelFigures figures;
  std::string difference;
  const auto make = [&options](std::shared_ptr<const Model> model, const BackendLimits& limits,
                               const cuda::LoadDevice& device) {
    return MakeTwin(std::move(model), limits, options.eager || device.eager, device);
  };
  for (uint64_t seed = 1; seed <= options.loads && difference.empty(); ++seed) {
    const std::string wrong = cuda::RunModelLoad(seed, make, figures);
    if (!wrong.empty()) difference = "seed " + std::to_string(seed) + ": " + wrong;
  }
  return Tell("random loads", figures.steps, difference);
}

}  // namespace

int F32TwinStage(const StageOptions& options) {
  int findings = 0;
  for (const Case& run : Cases()) {
    StepDigest digest;
    const absl::Status status = RunCase(run, options.eager, digest);
    findings += Tell(run.name, digest.steps, std::string(status.message()));
    if (options.smallest) return findings;
  }
  return findings + RunLoads(options);
}

}  // namespace recurve::gpu_check
