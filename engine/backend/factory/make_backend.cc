// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/factory/make_backend.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/cpu_builder.h"
#include "engine/backend/factory/open_cuda.h"
#include "engine/base/machine.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

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

absl::StatusOr<std::unique_ptr<BackendBuilder>> OpenBackend(const BackendOptions& options) {
  if (options.name == "cpu") return std::make_unique<CpuBuilder>(CpuOptions(options));
  if (options.name == "cuda") return OpenCuda(options);
  return absl::InvalidArgumentError(absl::StrCat("--backend is '", Quotable(options.name),
                                                 "'; this version has ", kBackendNames));
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(std::shared_ptr<const Model> model,
                                                     const BackendOptions& options,
                                                     const BackendLimits& limits) {
  ASSIGN_OR_RETURN(const std::unique_ptr<BackendBuilder> builder, OpenBackend(options));
  RETURN_IF_ERROR(builder->Prepare(std::move(model), limits).status());
  return builder->Make(limits.pages);
}

}  // namespace recurve
