// SPDX-License-Identifier: Apache-2.0
// Random loads of a schedule on tiny random models: everything that a request can ask for meets in
// steps of a few rows, which emulation can afford.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_MODEL_LOAD_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_MODEL_LOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/weights.h"

namespace recurve::cuda {

// Loads that model_load_test.cc runs, seeds 1 and up, unless told otherwise.
inline constexpr uint64_t kModelLoads = 60;

// How much of everything loads exercised.
struct ModelFigures {
  uint64_t steps = 0;
  uint64_t tokens = 0;
  uint64_t evictions = 0;
  uint64_t copies = 0;
  uint64_t not_finite = 0;  // sequences that ended so
  uint64_t endless = 0;     // tokens beyond the context
};

// What a load has drawn of its device, none of which may change a result.
struct LoadDevice {
  uint32_t multiprocessors = 1;  // of an emulated one
  uint64_t seed = 0;             // of its orders
  bool late = false;             // whether it runs nothing before it must
  bool eager = false;            // whether kernels are launched by themselves
};
using LoadBackend = std::function<absl::StatusOr<std::unique_ptr<Backend>>(
    std::shared_ptr<const Model>, const BackendLimits&, const LoadDevice&)>;

// Runs the load of `seed` on the backend that `make` makes. Returns what went wrong first, empty if
// nothing. Adds to `figures`.
std::string RunModelLoad(uint64_t seed, const LoadBackend& make, ModelFigures& figures);

// The same, in f32, with each step on an emulated device compared with the CPU's.
std::string RunModelLoad(uint64_t seed, ModelFigures& figures);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_MODEL_LOAD_H_
