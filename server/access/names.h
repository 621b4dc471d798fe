// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_ACCESS_NAMES_H_
#define RECURVE_SERVER_ACCESS_NAMES_H_

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace recurve {

// Whether a name of a client's choice may stand in the log and be echoed: 1 to `max_bytes`
// printable ASCII characters.
inline bool IsValidName(std::string_view name, size_t max_bytes) {
  return !name.empty() && name.size() <= max_bytes &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_NAMES_H_
