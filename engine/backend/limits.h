// SPDX-License-Identifier: Apache-2.0
// What limits a backend may be made with, and what follows from them for its buffers.
#ifndef RECURVE_ENGINE_BACKEND_LIMITS_H_
#define RECURVE_ENGINE_BACKEND_LIMITS_H_

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/model/config.h"

namespace recurve {

// Beyond these a backend has no memory or no numbers. Each backend has its own.
struct BackendMaxima {
  uint32_t slots;
  uint32_t hidden_rows;
  uint32_t pages = std::numeric_limits<uint32_t>::max();
};

// Whether the limits agree with each other, with the model and with a backend's maxima.
// InvalidArgument names the limit, the value and what is expected.
absl::Status CheckLimits(const BackendLimits& limits, const ModelConfig& config,
                         const BackendMaxima& maxima);

// Most rows that a stage of a step can have.
uint32_t MaxRows(const BackendLimits& limits);

// Hidden rows: one a slot, and `chunk` an area.
uint32_t HiddenRows(const BackendLimits& limits);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_LIMITS_H_
