// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/cpu_builder.h"

#include <algorithm>
#include <utility>

#include "engine/backend/cpu/cpu_probe.h"
#include "engine/base/check.h"
#include "engine/base/machine.h"
#include "engine/model/parameters.h"

namespace recurve {

BackendFacts CpuBuilder::Describe(const Model& model) const {
  return CpuBackend::Describe(model, options_);
}

absl::StatusOr<std::unique_ptr<MachineProbe>> CpuBuilder::MakeProbe() const {
  return CpuProbe::Create(options_.isa, options_.precision, options_.threads);
}

absl::StatusOr<uint64_t> CpuBuilder::Prepare(std::shared_ptr<const Model> model,
                                             const BackendLimits& limits) {
  model_ = std::move(model);
  options_.limits = limits;
  const uint64_t weights = CountParameters(*model_) * ElementSize(options_.precision);
  const uint64_t usable = UsableMemoryBytes();
  return usable - std::min(usable, weights);
}

absl::StatusOr<std::unique_ptr<Backend>> CpuBuilder::Make(uint32_t pages) {
  RECURVE_CHECK(model_ != nullptr);
  options_.limits.pages = pages;
  return CpuBackend::Create(std::move(model_), options_);
}

}  // namespace recurve
