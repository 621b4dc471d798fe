// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cuda_builder.h"

#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

class CudaBuilder final : public BackendBuilder {
 public:
  CudaBuilder(std::unique_ptr<Runtime> runtime, const CudaBackendOptions& options)
      : runtime_(std::move(runtime)), options_(options), device_(runtime_->facts()) {}

  BackendFacts Describe(const Model& model) const override {
    return CudaBackend::Describe(model, options_, device_);
  }

  absl::StatusOr<uint64_t> Prepare(std::shared_ptr<const Model> model,
                                   const BackendLimits& limits) override {
    RECURVE_CHECK(runtime_ != nullptr);
    options_.limits = limits;
    ASSIGN_OR_RETURN(prepared_,
                     CudaBackend::Prepare(std::move(model), options_, std::move(runtime_)));
    return prepared_->runtime->FreeBytes();
  }

  absl::StatusOr<std::unique_ptr<Backend>> Make(uint32_t pages) override {
    RECURVE_CHECK(prepared_.has_value());
    options_.limits.pages = pages;
    return CudaBackend::Create(*std::exchange(prepared_, std::nullopt), options_);
  }

 private:
  std::unique_ptr<Runtime> runtime_;  // until Prepare
  CudaBackendOptions options_;
  const DeviceFacts device_;
  std::optional<PreparedDevice> prepared_;  // from Prepare to Make
};

}  // namespace

std::unique_ptr<BackendBuilder> MakeCudaBuilder(std::unique_ptr<Runtime> runtime,
                                                const CudaBackendOptions& options) {
  return std::make_unique<CudaBuilder>(std::move(runtime), options);
}

}  // namespace recurve::cuda
