// SPDX-License-Identifier: Apache-2.0
// In which type a backend keeps its numbers.
#ifndef RECURVE_ENGINE_BACKEND_PRECISION_H_
#define RECURVE_ENGINE_BACKEND_PRECISION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/base/host_device.h"

namespace recurve {

// Of weights, of the activations that meet them in a product, and of keys and values.
enum class Precision : uint8_t { kF32, kBf16 };

// Bytes of one number.
RECURVE_HOST_DEVICE constexpr size_t ElementSize(Precision precision) {
  return precision == Precision::kF32 ? 4 : 2;
}

constexpr const char* PrecisionName(Precision precision) {
  return precision == Precision::kF32 ? "f32" : "bf16";
}

// The precision of this name, if there is one.
constexpr std::optional<Precision> ParsePrecision(std::string_view name) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    if (name == PrecisionName(precision)) return precision;
  }
  return std::nullopt;
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_PRECISION_H_
