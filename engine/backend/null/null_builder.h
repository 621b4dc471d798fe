// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_NULL_NULL_BUILDER_H_
#define RECURVE_ENGINE_BACKEND_NULL_NULL_BUILDER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend_builder.h"
#include "engine/backend/null/null_backend.h"

namespace recurve {

// Pages take no memory but for what the host knows of each.
class NullBuilder final : public BackendBuilder {
 public:
  BackendFacts Describe(const Model& model) const override;
  absl::StatusOr<uint64_t> Prepare(std::shared_ptr<const Model> model,
                                   const BackendLimits& limits) override;
  absl::StatusOr<std::unique_ptr<Backend>> Make(uint32_t pages) override;

 private:
  std::shared_ptr<const Model> model_;  // since Prepare
  BackendLimits limits_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_NULL_NULL_BUILDER_H_
