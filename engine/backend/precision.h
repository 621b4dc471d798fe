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

// Of weights and of the activations that meet them in a product, and of keys and values. int8
// numbers have a scale for each row beside them.
enum class Precision : uint8_t { kF32, kBf16, kInt8 };

// Bytes of one number.
RECURVE_HOST_DEVICE constexpr size_t ElementSize(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return 4;
    case Precision::kBf16:
      return 2;
    case Precision::kInt8:
      return 1;
  }
  return 0;  // not reached
}

constexpr const char* PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return "f32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "";  // not reached
}

// The precision of this name, if there is one.
constexpr std::optional<Precision> ParsePrecision(std::string_view name) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (name == PrecisionName(precision)) return precision;
  }
  return std::nullopt;
}

// That of keys and values if nobody says more.
constexpr Precision AutoKvPrecision(Precision weights) {
  return weights == Precision::kF32 ? Precision::kF32 : Precision::kBf16;
}

// That of keys and values which --kv_precision=`name` asks for: one of them by its name, or with
// "auto" what suits the precision of the weights.
constexpr std::optional<Precision> ParseKvPrecision(std::string_view name, Precision weights) {
  if (name == "auto") return AutoKvPrecision(weights);
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (name == PrecisionName(precision)) return precision;
  }
  return std::nullopt;
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_PRECISION_H_
