// SPDX-License-Identifier: Apache-2.0
// The backends that this build has: the one place that knows them by name.
#ifndef RECURVE_ENGINE_BACKEND_FACTORY_MAKE_BACKEND_H_
#define RECURVE_ENGINE_BACKEND_FACTORY_MAKE_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/facts.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"

namespace recurve {

struct BackendOptions {
  std::string name = "cpu";
  Precision precision =
      Precision::kBf16;       // of weights, activations between products, keys and values
  uint32_t threads = 0;       // cpu: that compute; 0: as many as this process may use
  bool force_scalar = false;  // cpu: the readable kernels; the bits are the same
};

// All names, as a message lists them.
inline constexpr char kBackendNames[] = "cpu";

bool HasBackend(std::string_view name);

// What the backend will be. Pages are counted by it, so it comes before the backend. Precondition:
// HasBackend(options.name).
BackendFacts DescribeBackend(const Model& model, const BackendOptions& options);

// Precondition: HasBackend(options.name). InvalidArgument names the limit that contradicts another,
// the model or the backend; RESOURCE_EXHAUSTED when memory is missing.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(std::shared_ptr<const Model> model,
                                                     const BackendOptions& options,
                                                     const BackendLimits& limits);

// As MakeBackend, which tests put another in the place of.
using BackendMaker = std::function<absl::StatusOr<std::unique_ptr<Backend>>(
    std::shared_ptr<const Model>, const BackendOptions&, const BackendLimits&)>;

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_FACTORY_MAKE_BACKEND_H_
