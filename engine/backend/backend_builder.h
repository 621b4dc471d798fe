// SPDX-License-Identifier: Apache-2.0
// A backend in the making. Pages take what memory is left once all else has its own, so that memory
// is taken in two steps, and between them whoever makes a backend decides how many pages it has.
#ifndef RECURVE_ENGINE_BACKEND_BACKEND_BUILDER_H_
#define RECURVE_ENGINE_BACKEND_BACKEND_BUILDER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/facts.h"
#include "engine/backend/machine_probe.h"
#include "engine/model/weights.h"

namespace recurve {

// Knows its device from the beginning. Makes one backend. Thread-compatible.
class BackendBuilder {
 public:
  virtual ~BackendBuilder() = default;

  // What the backend will be for this model. Takes no memory.
  virtual BackendFacts Describe(const Model& model) const = 0;

  // Measures the machine as the backend would use it; null: nobody has written how. Errors are the
  // probe's own.
  virtual absl::StatusOr<std::unique_ptr<MachineProbe>> MakeProbe() const { return nullptr; }

  // Once: a backend on a device takes the device's memory for weights and all else that `limits`
  // ask for; their `pages` do not count yet. Returns the bytes that are left for pages.
  // InvalidArgument names the limit that contradicts another, the model or the backend;
  // ResourceExhausted the memory that is missing.
  virtual absl::StatusOr<uint64_t> Prepare(std::shared_ptr<const Model> model,
                                           const BackendLimits& limits) = 0;

  // Once, after Prepare: the backend, with so many pages. Errors as Prepare's.
  virtual absl::StatusOr<std::unique_ptr<Backend>> Make(uint32_t pages) = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_BACKEND_BUILDER_H_
