// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_SHORTEST_H_
#define RECURVE_ENGINE_BASE_SHORTEST_H_

#include <charconv>
#include <concepts>
#include <iterator>
#include <string>

namespace recurve {

// `value` in the fewest digits that read as it again, so that a message never shows 100 for
// 100.00001. Thread-safe.
template <std::floating_point T>
std::string Shortest(T value) {
  char text[32];  // -1.2345678901234567e-308 takes 24
  const auto result = std::to_chars(std::begin(text), std::end(text), value);
  return std::string(std::begin(text), result.ptr);
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_SHORTEST_H_
