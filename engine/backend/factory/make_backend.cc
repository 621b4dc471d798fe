// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/factory/make_backend.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/cpu_builder.h"
#include "engine/backend/factory/open_cuda.h"
#include "engine/backend/null/null_builder.h"
#include "engine/base/machine.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

absl::StatusOr<CpuBackendOptions> CpuOptions(const BackendOptions& options) {
  CpuBackendOptions cpu;
  cpu.precision = options.precision;
  cpu.kv_precision = options.kv_precision.value_or(AutoKvPrecision(options.precision));
  cpu.threads = options.threads == 0 ? UsableThreads() : options.threads;
  ASSIGN_OR_RETURN(cpu.isa, ChooseIsa(options.isa, SupportedIsas()));
  return cpu;
}

// Of a backend that has no choice: cuda keeps keys and values as the weights, null keeps none.
absl::Status CheckKvPrecision(const BackendOptions& options) {
  if (!options.kv_precision) return absl::OkStatus();
  const Precision only = AutoKvPrecision(options.precision);
  const bool has_some = options.name == "cuda";
  if (has_some && *options.kv_precision == only) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--kv_precision is ", PrecisionName(*options.kv_precision), "; --backend=", options.name,
      has_some ? absl::StrCat(" with --precision=", PrecisionName(options.precision), " has ",
                              PrecisionName(only), " alone")
               : std::string(" keeps no keys and values; leave it out")));
}

// Refuses an option of another backend, which would have no effect.
absl::Status CheckOptions(const BackendOptions& options) {
  const BackendOptions unchanged;
  const bool is_cpu = options.name == "cpu";
  const bool is_cuda = options.name == "cuda";
  const auto refuse = [&options](const char* flag, const std::string& value, const char* backend) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is ", value, ", which is of --backend=", backend,
                     " alone; leave it out with --backend=", options.name));
  };
  if (!is_cuda && options.device != unchanged.device) {
    return refuse("--device", absl::StrCat(options.device), "cuda");
  }
  if (!is_cuda && options.eager) return refuse("--cuda_eager", "true", "cuda");
  if (!is_cuda && !options.overlap) return refuse("--cuda_overlap", "false", "cuda");
  if (!is_cuda && !options.deterministic) return refuse("--deterministic", "false", "cuda");
  if (is_cuda && options.precision == Precision::kInt8) {
    return absl::InvalidArgumentError(
        "--precision is int8, which is of --backend=cpu alone; use bf16 or f32 with "
        "--backend=cuda");
  }
  if (!options.deterministic && options.precision != Precision::kBf16) {
    return absl::InvalidArgumentError(
        "--deterministic is false, which is of --precision=bf16 alone; leave it out with f32");
  }
  if (!is_cpu && options.threads != unchanged.threads) {
    return refuse("--threads", absl::StrCat(options.threads), "cpu");
  }
  if (!is_cpu && options.isa != unchanged.isa) return refuse("--isa", options.isa, "cpu");
  return is_cpu ? absl::OkStatus() : CheckKvPrecision(options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BackendBuilder>> OpenBackend(const BackendOptions& options) {
  const bool is_known = options.name == "cpu" || options.name == "cuda" || options.name == "null";
  if (is_known) RETURN_IF_ERROR(CheckOptions(options));
  if (options.name == "cpu") {
    ASSIGN_OR_RETURN(const CpuBackendOptions cpu, CpuOptions(options));
    return std::make_unique<CpuBuilder>(cpu);
  }
  if (options.name == "cuda") return OpenCuda(options);
  if (options.name == "null") return std::make_unique<NullBuilder>();
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
