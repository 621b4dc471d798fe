// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/factory/make_backend.h"

#include <utility>

#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/check.h"
#include "engine/base/machine.h"

namespace recurve {
namespace {

CpuBackendOptions CpuOptions(const BackendOptions& options) {
  CpuBackendOptions cpu;
  cpu.precision = options.precision;
  cpu.threads = options.threads == 0 ? UsableThreads() : options.threads;
  cpu.force_scalar = options.force_scalar;
  return cpu;
}

}  // namespace

bool HasBackend(std::string_view name) { return name == "cpu"; }

BackendFacts DescribeBackend(const Model& model, const BackendOptions& options) {
  RECURVE_CHECK(HasBackend(options.name));
  return CpuBackend::Describe(model, CpuOptions(options));
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(std::shared_ptr<const Model> model,
                                                     const BackendOptions& options,
                                                     const BackendLimits& limits) {
  RECURVE_CHECK(HasBackend(options.name));
  CpuBackendOptions cpu = CpuOptions(options);
  cpu.limits = limits;
  return CpuBackend::Create(std::move(model), cpu);
}

}  // namespace recurve
