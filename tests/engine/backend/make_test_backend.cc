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

absl::StatusOr<std::unique_ptr<Backend>> MakeOne(const TestBackend& test,
                                                 std::shared_ptr<const Model> model,
                                                 const BackendOptions& options,
                                                 const BackendLimits& limits) {
#if defined(RECURVE_HAS_EMULATED_CUDA)
  if (test.emulates_cuda) {
    return MakeEmulatedCuda(std::move(model), limits, options.precision);
  }
#endif
  RECURVE_CHECK(!test.emulates_cuda);
  return MakeBackend(std::move(model), options, limits);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeTestBackend(const TestBackend& test,
                                                         std::shared_ptr<const Model> model,
                                                         BackendOptions options,
                                                         const BackendLimits& limits) {
  options.isa = test.isa;
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, MakeOne(test, model, options, limits));
  if (!test.twin) return backend;
#if defined(RECURVE_HAS_EMULATED_CUDA)
  if (test.emulates_cuda && options.precision == Precision::kBf16) {
    ASSIGN_OR_RETURN(
        std::unique_ptr<Backend> other,
        MakeEmulatedCuda(std::move(model), limits, options.precision, EmulatedVariant::kOther));
    return std::make_unique<TwinBackend>(std::move(backend), std::move(other));
  }
#endif
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
