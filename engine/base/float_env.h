// SPDX-License-Identifier: Apache-2.0
// The floating-point mode of threads that compute a backend's numbers.
#ifndef RECURVE_ENGINE_BASE_FLOAT_ENV_H_
#define RECURVE_ENGINE_BASE_FLOAT_ENV_H_

#include <cstdint>

namespace recurve {

// While it lives, the calling thread reads denormals as zero (DAZ) and writes zero for denormal
// results (FTZ), rounding to nearest. This is what matrix units do in hardware, so every kernel is
// defined under it; it also keeps the tails of softmax from costing a hundred cycles each. Restores
// the former mode on destruction, which must happen on the same thread.
class ScopedFloatEnv {
 public:
  ScopedFloatEnv();
  ~ScopedFloatEnv();
  ScopedFloatEnv(const ScopedFloatEnv&) = delete;
  ScopedFloatEnv& operator=(const ScopedFloatEnv&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_FLOAT_ENV_H_
