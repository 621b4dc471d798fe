// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/null/null_builder.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/machine.h"

namespace recurve {
namespace {

// Of what schedule and slot table know of a page; rounded up.
constexpr uint64_t kPageBytes = 64;

}  // namespace

BackendFacts NullBuilder::Describe(const Model& /*model*/) const {
  BackendFacts facts;
  facts.name = "null";
  facts.device = "none";
  facts.threads = 1;
  facts.page_bytes = kPageBytes;
  facts.memory_share = 0.5;
  facts.queue_depth = 0;  // a step is over when it is submitted
  facts.max_slots = NullBackend::kMaxSlots;
  facts.computes = false;
  return facts;
}

absl::StatusOr<uint64_t> NullBuilder::Prepare(std::shared_ptr<const Model> model,
                                              const BackendLimits& limits) {
  model_ = std::move(model);
  limits_ = limits;
  return UsableMemoryBytes();
}

absl::StatusOr<std::unique_ptr<Backend>> NullBuilder::Make(uint32_t pages) {
  RECURVE_CHECK(model_ != nullptr);
  limits_.pages = pages;
  return NullBackend::Create(std::move(model_), limits_);
}

}  // namespace recurve
