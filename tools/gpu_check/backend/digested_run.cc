// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_check/backend/digested_run.h"

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/cuda/model_load.h"
#include "tests/engine/backend/step_driver.h"

namespace recurve::gpu_check {
namespace {

absl::Status RunCase(const Case& run, const DeviceOptions& options, StepDigest& digest) {
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> device,
                   MakeDeviceBackend(run.model, run.limits, options));
  DigestedBackend backend(std::move(device), digest);
  return RunRequests(backend, run.model->config, run.limits, run.requests, {.depth = 1}).status();
}

}  // namespace

DigestedRun DigestCase(const Case& run, const DeviceOptions& options) {
  DigestedRun digested;
  digested.name = run.name;
  digested.error = std::string(RunCase(run, options, digested.digest).message());
  return digested;
}

DigestedRun DigestLoad(uint64_t seed) {
  DigestedRun digested;
  digested.name = absl::StrCat("random load ", seed);
  const auto make =
      [&](std::shared_ptr<const Model> model, const BackendLimits& limits,
          const cuda::LoadDevice& device) -> absl::StatusOr<std::unique_ptr<Backend>> {
    ASSIGN_OR_RETURN(
        std::unique_ptr<Backend> backend,
        MakeDeviceBackend(std::move(model), limits, {.eager = device.eager, .device = device}));
    return std::make_unique<DigestedBackend>(std::move(backend), digested.digest);
  };
  cuda::ModelFigures figures;
  digested.error = cuda::RunModelLoad(seed, make, figures);
  return digested;
}

Digests ReadDigests(const std::string& path) {
  Digests digests;
  std::ifstream file(path);
  std::string digest;
  std::string name;
  while (file >> digest && std::getline(file >> std::ws, name)) digests[name] = digest;
  return digests;
}

}  // namespace recurve::gpu_check
