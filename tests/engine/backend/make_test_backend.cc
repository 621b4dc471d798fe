// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/make_test_backend.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/twin_backend.h"
#if defined(RECURVE_HAS_EMULATED_CUDA)
#include "tests/engine/backend/cuda/emulated_backend.h"
#endif

namespace recurve {
namespace {

// The CUDA backend, or another one that must give the same bits.
absl::StatusOr<std::unique_ptr<Backend>> MakeCuda(const TestBackend& test,
                                                  std::shared_ptr<const Model> model,
                                                  BackendOptions options,
                                                  const BackendLimits& limits, bool is_other) {
#if defined(RECURVE_HAS_EMULATED_CUDA)
  if (test.emulated) {
    return MakeEmulatedCuda(std::move(model), limits, options.precision,
                            is_other ? EmulatedVariant::kOther : EmulatedVariant::kUsual);
  }
#endif
  RECURVE_CHECK(!test.emulated);
  options.name = "cuda";
  options.threads = 0;
  options.isa = BackendOptions().isa;
  options.eager = is_other;
  options.overlap = !is_other;
  return MakeBackend(std::move(model), options, limits);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeTestBackend(const TestBackend& test,
                                                         std::shared_ptr<const Model> model,
                                                         BackendOptions options,
                                                         const BackendLimits& limits) {
  options.isa = test.isa;
  const auto make = [&](bool is_other) {
    return test.is_cuda ? MakeCuda(test, model, options, limits, is_other)
                        : MakeBackend(model, options, limits);
  };
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, make(/*is_other=*/false));
  if (!test.twin) return backend;
  if (test.is_cuda && options.precision == Precision::kBf16) {
    ASSIGN_OR_RETURN(std::unique_ptr<Backend> other, make(/*is_other=*/true));
    return std::make_unique<TwinBackend>(std::move(backend), std::move(other));
  }
  options.name = BackendOptions().name;
  options.isa = TestBackends().front().isa;
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> first, MakeBackend(std::move(model), options, limits));
  return std::make_unique<TwinBackend>(std::move(backend), std::move(first));
}

BackendMaker TestBackendMaker(const TestBackend& test) {
  return [test](std::shared_ptr<const Model> model, const BackendOptions& options,
                const BackendLimits& limits) {
    return MakeTestBackend(test, std::move(model), options, limits);
  };
}

}  // namespace recurve
