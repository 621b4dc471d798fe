// SPDX-License-Identifier: Apache-2.0
// The backends that this build has: the one place that knows them by name.
#ifndef RECURVE_ENGINE_BACKEND_FACTORY_MAKE_BACKEND_H_
#define RECURVE_ENGINE_BACKEND_FACTORY_MAKE_BACKEND_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/backend_builder.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"

namespace recurve {

struct BackendOptions {
  std::string name = "cpu";
  Precision precision = Precision::kBf16;  // of weights and activations between products; int8: cpu
  // Of keys and values; unset: AutoKvPrecision.
  std::optional<Precision> kv_precision = std::nullopt;
  uint32_t threads = 0;      // cpu: that compute; 0: as many as this process may use
  std::string isa = "auto";  // cpu: instruction set of the kernels, as ChooseIsa takes it
  uint32_t device = 0;       // cuda: number of the card among those that the driver shows
  bool eager = false;        // cuda: kernel by kernel instead of graphs, for errors that name one
  bool overlap = true;       // cuda: kernels may begin before the one before them has ended
  // cuda in bf16: bits depend on nothing but the row. False gives products of many rows to
  // cuBLASLt.
  bool deterministic = true;
  std::chrono::milliseconds step_timeout{30000};  // cuda: a step that takes longer has failed
};

// All names, as a message lists them.
inline constexpr char kBackendNames[] = "cpu, cuda and null";

// Finds the backend's device. InvalidArgument names what this version does not have, or an option
// that is another backend's;
// FailedPrecondition says, in one sentence, what this build or this machine lacks for the backend,
// and what to do.
absl::StatusOr<std::unique_ptr<BackendBuilder>> OpenBackend(const BackendOptions& options);

// As OpenBackend, which tests put another in the place of.
using BackendOpener =
    std::function<absl::StatusOr<std::unique_ptr<BackendBuilder>>(const BackendOptions&)>;

// For limits that are known from the beginning. Errors are those of OpenBackend and BackendBuilder.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(std::shared_ptr<const Model> model,
                                                     const BackendOptions& options,
                                                     const BackendLimits& limits);

// As MakeBackend, which tests put another in the place of.
using BackendMaker = std::function<absl::StatusOr<std::unique_ptr<Backend>>(
    std::shared_ptr<const Model>, const BackendOptions&, const BackendLimits&)>;

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_FACTORY_MAKE_BACKEND_H_
