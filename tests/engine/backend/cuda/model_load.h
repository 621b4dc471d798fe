// SPDX-License-Identifier: Apache-2.0
// Random loads of a schedule on tiny random models, each step on the emulated device compared with
// the CPU's: everything that a request can ask for meets in steps of a few rows, which emulation
// can afford.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_MODEL_LOAD_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_MODEL_LOAD_H_

#include <cstdint>
#include <string>

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

// Runs the load of `seed`. Returns what went wrong first, empty if nothing. Adds to `figures`.
std::string RunModelLoad(uint64_t seed, ModelFigures& figures);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_MODEL_LOAD_H_
