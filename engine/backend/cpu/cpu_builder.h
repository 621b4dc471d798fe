// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_CPU_CPU_BUILDER_H_
#define RECURVE_ENGINE_BACKEND_CPU_CPU_BUILDER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend_builder.h"
#include "engine/backend/cpu/cpu_backend.h"

namespace recurve {

// Takes no memory before Make, since the host's is shared with others anyway: what is left for
// pages is what this process may still take, less the weights.
class CpuBuilder final : public BackendBuilder {
 public:
  // The limits in `options` do not count.
  explicit CpuBuilder(const CpuBackendOptions& options) : options_(options) {}

  BackendFacts Describe(const Model& model) const override;
  absl::StatusOr<std::unique_ptr<MachineProbe>> MakeProbe() const override;
  absl::StatusOr<uint64_t> Prepare(std::shared_ptr<const Model> model,
                                   const BackendLimits& limits) override;
  absl::StatusOr<std::unique_ptr<Backend>> Make(uint32_t pages) override;

 private:
  CpuBackendOptions options_;
  std::shared_ptr<const Model> model_;  // since Prepare
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_CPU_BUILDER_H_
