// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <utility>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/cuda/model_load.h"
#include "tests/engine/backend/cuda/programmatic_runtime.h"
#include "tests/engine/backend/twin_backend.h"

namespace recurve::cuda {
namespace {

absl::StatusOr<std::unique_ptr<Backend>> MakeTwin(std::shared_ptr<const Model> model,
                                                  const BackendLimits& limits,
                                                  const LoadDevice& drawn) {
  EmulatedOptions emulated;
  emulated.facts.multiprocessors = drawn.multiprocessors;
  emulated.seed = drawn.seed;
  if (drawn.late) emulated.execution = Execution::kWhenWaitedFor;
  CudaBackendOptions options;
  options.limits = limits;
  options.precision = Precision::kF32;
  options.eager = drawn.eager;
  ASSIGN_OR_RETURN(
      std::unique_ptr<Backend> device,
      CudaBackend::Create(model, options, std::make_unique<ProgrammaticRuntime>(emulated)));
  BackendOptions cpu;
  cpu.precision = Precision::kF32;
  cpu.threads = 1;
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> oracle, MakeBackend(std::move(model), cpu, limits));
  return std::make_unique<TwinBackend>(std::move(device), std::move(oracle));
}

}  // namespace

std::string RunModelLoad(uint64_t seed, ModelFigures& figures) {
  return RunModelLoad(seed, MakeTwin, figures);
}

}  // namespace recurve::cuda
