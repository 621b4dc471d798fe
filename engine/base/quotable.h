// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_QUOTABLE_H_
#define RECURVE_ENGINE_BASE_QUOTABLE_H_

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"

namespace recurve {

// What a file or a client wrote, fit for messages and logs: nothing that drives a terminal, and not
// much of it.
inline std::string Quotable(std::string_view text) {
  constexpr size_t kLongest = 200;  // bytes, before they are escaped
  const std::string_view head = text.substr(0, kLongest);
  return absl::CEscape({head.data(), head.size()});
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_QUOTABLE_H_
